"""Exports the workloads of compare.py: models with random weights and synthetic rows, all from one seed.

    python workloads.py FOLDER PROGRAM [--folded] [NAME ...]

A workload is a folder: model.onnx, model.forget.toml, train.parquet (the rows to forget first, then the others), forget.parquet,
validation.parquet (rows with the label that the model thinks least likely, so that their loss is a high τ), test.parquet (with the
likeliest: a low τ) and workload.json, which has the sizes and the operations of a step, counted from the graph.
"""

import argparse
import json
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from onnx import numpy_helper
from torch import nn

import modules
from modules import CLASSES

SEED = 7
# Batches of rows to forget, and as many others; a run goes through them again and again.
BATCHES = 4
FLOAT = 4


@dataclass
class Workload:
    what: str
    build: Callable[[], nn.Module]
    row: tuple  # a row's shape; of one number less than 0: tokens of that vocabulary
    batch: int
    steps: int  # timed in a run

    def rows(self, n, generator):
        if self.row[-1] < 0:
            return torch.randint(-self.row[-1], (n, *self.row[:-1]), generator=generator)
        return torch.randn(n, *self.row, generator=generator)


WORKLOADS = {
    "resnet18": Workload("ResNet-18, 32×32", modules.resnet18, (3, 32, 32), 256, 2),
    "vgg11bn": Workload("VGG-11-BN, 32×32", modules.vgg11_bn, (3, 32, 32), 128, 6),
    "mobilenetv2": Workload("MobileNetV2, 64×64", modules.mobilenet_v2, (3, 64, 64), 64, 6),
    "transformer": Workload("Transformer, 4 layers of 256, length 64", modules.texts, (64, -8000), 64, 6),
    "vit": Workload("ViT-small, 32×32, 6 layers of 192", modules.vit, (3, 32, 32), 128, 4),
    "mlp": Workload("MLP 100-512-512-10", lambda: modules.mlp([100, 512, 512, CLASSES]), (100,), 256, 200),
    "lstm": Workload("LSTM, 2 layers of 128, length 40", modules.lstm, (40, -8000), 64, 20),
}


def settled(model, rows):
    """With running statistics of some rows, so that activations keep their scale. No two tensors stay equal: the exporter would make
    them one."""
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() == 1:
                p += 0.05 * torch.randn_like(p)
        for layer in (m for m in model.modules() if isinstance(m, nn.TransformerEncoder)):
            for p in layer.parameters():
                if p.dim() > 1:
                    nn.init.xavier_uniform_(p)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    if norms:
        with torch.no_grad():
            model.train()(rows)
    return model.eval()


def module(name):
    """The module that a workload's file is exported from, and the generator that its rows come from."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    workload = WORKLOADS[name]
    return settled(workload.build(), workload.rows(64, generator)), generator


def export(model, rows, path, folded):
    torch.backends.mha.set_fastpath_enabled(False)
    norms = any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    kept = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False} if norms and not folded else {}
    axes = {"x": {0: "batch"}, "scores": {0: "batch"}}
    names = {"input_names": ["x"], "output_names": ["scores"], "dynamic_axes": axes, "opset_version": 17, "dynamo": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (rows[:2],), str(path), **names, **kept)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        worst = np.abs(session.run(None, {"x": rows.numpy()})[0] - model(rows).numpy()).max()
    if not worst < 1e-3:
        raise SystemExit(f"{path}: onnxruntime differs from PyTorch by {worst}")


def write(path, first, x, y):
    flat = x.reshape(len(x), -1).numpy()
    lists = pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), flat.shape[1])
    ids = np.arange(first, first + len(y))
    pq.write_table(pa.table({"id": ids, "x": lists, "label": y.numpy()}), path, compression="zstd")


CONFIG = """[data]
train = "train.parquet"
validation = "validation.parquet"
test = "test.parquet"
id = "id"

[inputs.x]
column = "x"

[target]
column = "label"
kind = "class"

[loss]
kind = "cross-entropy"
"""


# --- counting ------------------------------------------------------------------------------------------------------

# Move nothing, or only numbers of extents.
FREE = {"Constant", "ConstantOfShape", "Flatten", "Identity", "Reshape", "Shape", "Squeeze", "Unsqueeze"}
# Their gradients need no value of the forward pass.
LINEAR = {"Add", "AveragePool", "Concat", "Expand", "Gather", "GlobalAveragePool", "ReduceMean", "Slice", "Sub", "Transpose"}


def shapes(model, feed):
    """Every value's shape on `feed`."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    outputs = [name for node in model.graph.node for name in node.output if name]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = {name: value.shape for name, value in zip(outputs, session.run(outputs, feed))}
    found |= {t.name: tuple(t.dims) for t in model.graph.initializer}
    return found | {name: value.shape for name, value in feed.items()}


def products(node, of):
    """Multiply-adds of a node's forward pass by operand: each costs as many again for its own gradient."""
    x, w = of[node.input[0]], of[node.input[1]]
    y = of[node.output[0]]
    if node.op_type == "Conv":
        n = int(np.prod(y)) * int(np.prod(w[1:]))
    elif node.op_type == "Gemm":
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        n = int(np.prod(y)) * x[0 if transposed else 1]
    elif node.op_type == "MatMul":
        n = int(np.prod(y)) * x[-1]
    else:  # LSTM: directions, 4 · hidden, inputs
        time, rows = x[:2]
        inputs, recurrent = time * rows * int(np.prod(w)), time * rows * int(np.prod(of[node.input[2]]))
        return inputs + recurrent, {node.input[0]: inputs, node.input[1]: inputs, node.input[2]: 2 * recurrent}
    return n, {node.input[0]: n, node.input[1]: n}


def count(path, workload, trained):
    """Operations and bytes of one forward and backward pass over one batch, and of one step of the optimizer.

    Bytes are those of operators without matrix products, each by itself: operands read and results written once; in the backward
    pass the result's gradient and, unless the operator is linear, the operands read, and the operands' gradients written.
    """
    model, few = onnx.load(path), 2
    of = shapes(model, {"x": workload.rows(few, torch.Generator().manual_seed(0)).numpy()})
    size = lambda name: int(np.prod(of[name], dtype=np.int64))
    tracked, flops, moved = set(trained), 0, 0
    for node in model.graph.node:
        reached = [name for name in node.input if name in tracked]
        if reached:
            tracked.update(node.output)
        if node.op_type in ("Conv", "Gemm", "MatMul", "LSTM"):
            forward, gradients = products(node, of)
            flops += 2 * (forward + sum(n for name, n in gradients.items() if name in tracked))
        elif node.op_type not in FREE and reached:
            operands, results = sum(map(size, filter(None, node.input))), sum(map(size, filter(None, node.output)))
            moved += FLOAT * (operands + results)
            moved += FLOAT * (results + sum(map(size, reached)) * (1 if node.op_type in LINEAR else 2))
    parameters = sum(map(size, trained))
    scale = workload.batch / few
    # AdamW reads weight, gradient and two moments, and writes three of them.
    return {"flops": flops * scale, "bytes": moved * scale, "optimizer_bytes": 7 * FLOAT * parameters, "parameters": parameters}


def make(name, folder, program, folded):
    workload = WORKLOADS[name]
    model, generator = module(name)
    folder.mkdir(parents=True, exist_ok=True)
    path, batch = folder / "model.onnx", workload.batch
    export(model, workload.rows(8, generator), path, folded)
    (folder / "model.forget.toml").write_text(CONFIG)
    labels = lambda n: torch.randint(CLASSES, (n,), generator=generator)
    rows = BATCHES * batch
    write(folder / "train.parquet", 0, workload.rows(2 * rows, generator), labels(2 * rows))
    pq.write_table(pa.table({"id": np.arange(rows)}), folder / "forget.parquet")
    for n, (part, pick) in enumerate([("validation", torch.argmin), ("test", torch.argmax)]):
        x = workload.rows(batch, generator)
        with torch.no_grad():
            write(folder / f"{part}.parquet", (2 + n) * rows, x, pick(model(x), 1))
    inspected = subprocess.run([program, "inspect", path, "--format", "json"], check=True, capture_output=True, text=True)
    trained = [t["name"] for t in json.loads(inspected.stdout)["initializers"] if t["trainable"]]
    about = {"name": name, "what": workload.what, "batch": batch, "steps": workload.steps, "trained": trained}
    # onnx2torch has no recurrent layers: the peer is then the module itself, with the same weights.
    about["module"] = name if any(node.op_type == "LSTM" for node in onnx.load(path).graph.node) else None
    if about["module"]:
        torch.save(model.state_dict(), folder / "weights.pt")
    about |= {"row": [n for n in workload.row if n > 0]} | count(path, workload, trained)
    (folder / "workload.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("program")
    parser.add_argument("--folded", action="store_true", help="BatchNormalization multiplied into the convolutions")
    parser.add_argument("names", nargs="*", default=list(WORKLOADS))
    given = parser.parse_args()
    for name in given.names:
        make(name, given.folder / name, given.program, given.folded)
