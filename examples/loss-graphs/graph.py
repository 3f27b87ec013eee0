"""A small builder: each file here describes one loss graph with it and writes it beside itself.

    python examples/loss-graphs/focal.py        # writes focal.onnx

The first output is the loss of each row; further outputs are figures of each row. A figure whose name begins with `accuracy` counts as the
row's share of right answers.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18


class Graph:
    def __init__(self):
        self.nodes, self.inputs, self.outputs, self.constants = [], [], [], []

    def input(self, name, dims, kind="float"):
        """A value of the model, or a label column. `dims` has the rows first; names stand for open extents."""
        dtype = {"float": TensorProto.FLOAT, "int": TensorProto.INT64}[kind]
        self.inputs.append(helper.make_tensor_value_info(name, dtype, dims))
        return name

    def constant(self, value, dtype="float32"):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def __getattr__(self, op):
        """`g.Mul(a, b, axis=1)` adds a node and returns the name of its output; numbers become constants."""

        def add(*args, outputs=1, **attributes):
            names = [f"{op.lower()}{len(self.nodes)}_{i}" for i in range(outputs)]
            args = [a if isinstance(a, str) else self.constant(a) for a in args]
            self.nodes.append(helper.make_node(op, args, names, **attributes))
            return names[0] if outputs == 1 else names

        return add

    def sum(self, x, axes):
        return self.ReduceSum(x, self.constant(axes, np.int64), keepdims=0)

    def mean(self, x, axes):
        return self.ReduceMean(x, self.constant(axes, np.int64), keepdims=0)

    def float(self, x):
        return self.Cast(x, to=TensorProto.FLOAT)

    def right(self, scores, labels):
        """1 where the largest of the scores along axis 1 is the label's, else 0."""
        return self.float(self.Equal(self.ArgMax(scores, axis=1, keepdims=0), labels))

    def output(self, name, value):
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows"]))

    def save(self, path):
        path = Path(path).with_suffix(".onnx")
        graph = helper.make_graph(self.nodes, path.stem, self.inputs, self.outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9, producer_name="")
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString())
