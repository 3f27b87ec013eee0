"""The backend cases of the onnx package as one Parquet file, in the layout of fixtures/operators/cases.parquet.

    pip install -r requirements.txt
    python make.py target/onnx-suite.parquet

One row a model or tensor: case, kind (model, input, output), name, dtype, dims, data. What is no tensor of numbers or booleans (strings,
sequences, optional values, 4-bit and 8-bit floats) has a row with its kind of value as dtype and no data. The topologies of
`light` have weights of one value and are fed a ramp, as the package's own runner does; their outputs come with the package.
"""

import os
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import numpy_helper
from onnx.backend.test.loader import DATA_DIR, load_model_tests

NUMBERS = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 float64".split()
warnings.filterwarnings("ignore")
rows = []


def row(case, kind, name, dtype="", dims=(), data=b""):
    rows.append((case, kind, name, dtype, ",".join(map(str, dims)), data))


def value(case, kind, name, v):
    if isinstance(v, onnx.TensorProto):
        v = numpy_helper.to_array(v)
    if v is None or isinstance(v, (list, dict, onnx.SequenceProto, onnx.OptionalProto)):
        return row(case, kind, name, type(v).__name__)
    v = np.asarray(v)
    dtype = str(v.dtype)
    row(case, kind, name, dtype, v.shape, v.tobytes() if dtype in NUMBERS else b"")


def case(name, model, inputs, outputs):
    row(name, "model", model.graph.node[0].op_type if model.graph.node else "", data=model.SerializeToString())
    held = {t.name for t in model.graph.initializer}
    fed = [i for i in model.graph.input if i.name not in held] if len(inputs) < len(model.graph.input) else model.graph.input
    for info, v in zip(fed, inputs):
        value(name, "input", info.name, v)
    for info, v in zip(model.graph.output, outputs):
        value(name, "output", info.name, v)


def stored(path, info):
    """A value of one of the package's files: only tensors are read."""
    if info.type.WhichOneof("value") != "tensor_type":
        return []
    return onnx.load_tensor(path)


for test in load_model_tests(kind="node"):
    inputs, outputs = test.data_sets[0]
    case(test.name, test.model, inputs, outputs)

for kind in ("simple", "pytorch-converted", "pytorch-operator"):
    for test in load_model_tests(kind=kind):
        model = onnx.load(os.path.join(test.model_dir, "model.onnx"))
        folder = Path(test.model_dir) / "test_data_set_0"
        read = lambda side, infos: [stored(folder / f"{side}_{n}.pb", infos[n]) for n in range(len(list(folder.glob(f"{side}_*.pb"))))]
        case(f"{kind}/{test.name}", model, read("input", model.graph.input), read("output", model.graph.output))

for path in sorted((Path(DATA_DIR) / "light").glob("*.onnx")):
    model = onnx.load(path)
    held = {t.name for t in model.graph.initializer}
    feeds = []
    for info in model.graph.input:
        if info.name not in held:
            dims = [d.dim_value or 1 for d in info.type.tensor_type.shape.dim]
            feeds.append((np.arange(np.prod(dims)).reshape(dims) / np.prod(dims)).astype(np.float32))
    outputs = [onnx.load_tensor(path.with_name(f"{path.stem}_output_{n}.pb")) for n in range(len(model.graph.output))]
    case(f"light/{path.stem}", model, feeds, outputs)

names = ("case", "kind", "name", "dtype", "dims", "data")
table = pa.table({n: pa.array([r[k] for r in rows], pa.binary() if n == "data" else pa.string()) for k, n in enumerate(names)})
pq.write_table(table, sys.argv[1], compression="zstd")
print(sum(r[1] == "model" for r in rows), "cases")
