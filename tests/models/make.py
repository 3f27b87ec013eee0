"""Exports models of public libraries, with random weights from a seed, into a folder: one file a model, exporter and opset.

    python make.py FOLDER [--of torch,sklearn,decoders,keras] [--only REGEX] [--kept]

Configurations are small, so that each file is checked in seconds. What a library cannot export is listed in FOLDER/failed.txt.
"""

import argparse
import contextlib
import importlib
import io
import os
import re
import sys
import traceback
from pathlib import Path

LIBRARIES = ("torch", "sklearn", "decoders", "keras", "packages")
# The files in kept/: what continuous integration verifies where PyTorch and TensorFlow would take too long to install.
KEPT = re.compile(
    r"(perceptron|convolution_[13]d|lstm)\.|(gru|rnn|unet|encoder|hf_resnet|hf_vit|whisper_encoder)\.torchscript\.17"
    r"|llama_past.torchscript|bert_classifier\.(torchscript\.11|dynamo\.23)|gpt2\.dynamo|unet\.dynamo|keras_(dense|convolutional|attention|lstm)\.tf2onnx\.17"
)


def drop_traces(path):
    """Removes the stack traces that PyTorch notes at each node: paths of the machine that exported, and half of the file."""
    import onnx

    model = onnx.load(path)
    for node in [*model.graph.node, *(n for f in model.functions for n in f.node)]:
        left = [p for p in node.metadata_props if p.key != "pkg.torch.onnx.stack_trace"]
        del node.metadata_props[:]
        node.metadata_props.extend(left)
    onnx.save(model, path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--of", default=",".join(LIBRARIES), help="the libraries, each of which has its file of_LIBRARY.py")
    parser.add_argument("--only", default="", help="a regular expression that the file name must hold")
    parser.add_argument("--kept", action="store_true", help="the files that kept/ holds")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    listed, failed = args.folder / "failed.txt", {}
    if listed.exists():
        failed = dict(line.split("\t", 1) for line in listed.read_text().splitlines())
    # A model is a name, a function of a path, an exporter and an opset.
    models = [model for library in args.of.split(",") for model in importlib.import_module(f"of_{library}").models]
    for name, save, exporter, opset in models:
        stem = f"{name}.{exporter}.{opset}"
        if not re.search(args.only, stem) or args.kept and not KEPT.match(stem):
            continue
        path = args.folder / f"{stem}.onnx"
        said = io.StringIO()
        failed.pop(stem, None)
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                save(str(path))
                if args.kept:
                    drop_traces(path)
            print(stem, flush=True)
        except Exception as e:
            path.unlink(missing_ok=True)
            why = next((line for line in str(e).splitlines() if line.strip()), "")
            failed[stem] = f"{type(e).__name__}: {why[:200]}"
            print("FAILED", stem, failed[stem], flush=True)
            if "MODELS_TRACE" in os.environ:
                traceback.print_exc()
    if failed:
        listed.write_text("".join(f"{stem}\t{why}\n" for stem, why in sorted(failed.items())))
    else:
        listed.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
