"""Forgets the rows of each task of `make.py`, and holds the result against the models without them:

    python experiments/tasks/run.py FOLDER [ONNX-FORGET]        # writes results.md; needs onnxruntime, numpy, pyarrow

For `words` also: how many of the secrets are completed word by word, each word the most probable one, before and after.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow.parquet as pq

HERE = Path(__file__).parent
FIGURES = [("attack by loss", "mia_loss"), ("test accuracy", "test_accuracy"), ("test accuracy", "test_r2"), ("test mean IoU", "test_mean_iou"),
           ("test perplexity", "test_perplexity"), ("forget accuracy", "forget_accuracy"), ("forget accuracy", "forget_r2"),
           ("retain accuracy", "retain_accuracy"), ("retain accuracy", "retain_r2")]


def completed(model, folder, secret=3):
    """Share of the secrets among the rows to forget, and among unseen rows, that greedy completion of the words before them gives."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    forget = set(pq.read_table(folder / "forget.parquet")["id"].to_pylist())
    shares = []
    for name, chosen in [("train", lambda id: id in forget), ("train", lambda id: id not in forget), ("test", lambda id: True)]:
        table = pq.read_table(folder / f"{name}.parquet").to_pylist()
        ids = np.array([row["input_ids"] for row in table if row["secret"] and chosen(row["id"])])
        given = ids.copy()
        for place in range(ids.shape[1] - secret, ids.shape[1]):
            given[:, place:] = 0
            given[:, place] = session.run(None, {"input_ids": given})[0][:, place - 1].argmax(-1)
        shares.append(float((given == ids).all(1).mean()))
    return shares


def figure(values):
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def main():
    root, program = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "onnx-forget"
    lines = [
        "| task | figure | before | ∇τ | retrained |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    notes = []
    for folder in sorted(path.parent for path in root.glob("*/model.onnx")):
        out = folder / "compared"
        if not (out / "compare.json").exists():
            command = [program, "compare", folder / "model.onnx", "--forget", folder / "forget.parquet", "--methods", "nabla-tau",
                       "--seeds", "3", "--reference", *sorted(folder.glob("retrained-*.onnx")), "--out", out]
            subprocess.run([str(word) for word in command], check=True)
        found = json.loads((out / "compare.json").read_text())
        lines += table(folder, found, program)
        if folder.name == "words":
            new = folder / "forgotten.onnx"
            command = [program, folder / "model.onnx", "--forget", folder / "forget.parquet", "--out", new, "--force"]
            subprocess.run([str(word) for word in command], check=True)
            models = {"before": folder / "model.onnx", "∇τ": new, "retrained": folder / "retrained-1.onnx"}
            for name, model in models.items():
                forgotten, kept, unseen = completed(model, folder)
                notes.append(f"| {name} | {100 * forgotten:.1f} % | {100 * kept:.1f} % | {100 * unseen:.1f} % |")
    text = "\n".join(lines)
    if notes:
        text += "\n\nSecrets that greedy completion gives:\n\n| model | of rows to forget | of other training rows | of unseen rows |\n| --- | ---: | ---: | ---: |\n"
        text += "\n".join(notes)
    (HERE / "results.md").write_text(text + "\n")
    print(text)


def table(folder, found, program):
    """The figures of the model before, of ∇τ over its seeds, and of the models without the rows."""
    before, method = (next(m["figures"] for m in found["methods"] if m["method"] == name) for name in ("original", "nabla-tau"))
    others = [audited(model, folder, program) for model in sorted(folder.glob("retrained-*.onnx"))]
    lines = []
    for name, key in FIGURES:
        if before.get(key) and method.get(key):
            name = name.replace("accuracy", "R²") if key.endswith("r2") else name
            retrained = figure([other(key) for other in others])
            lines.append(f"| {folder.name} | {name} | {figure(before[key]['values'])} | {figure(method[key]['values'])} | {retrained} |")
    return lines


def audited(model, folder, program):
    """The figures of one model, by the keys of `compare`."""
    command = [program, "audit", model, "--config", folder / "model.forget.toml", "--forget", folder / "forget.parquet", "--format", "json",
               "--accept-unknown-rows"]
    done = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True)
    audit = json.loads(done.stdout)

    def read(key):
        if key == "mia_loss":
            return audit["mia"]["loss"]["accuracy"]
        split, figure = key.split("_", 1)
        return audit[split][figure]

    return read


if __name__ == "__main__":
    main()
