"""What growth.py needs packages for.

    python growth_parts.py data FOLDER ROWS SHARE WIDTH...    a table of ROWS rows, SHARE of them to be forgotten, and an MLP
    python growth_parts.py plot RESULTS SVG
"""

import json
import sys
from pathlib import Path

import numpy as np

CONFIG = """[data]
train = "train.parquet"
validation = "held-out.parquet"
id = "id"

[inputs.x]
column = "x"

[target]
column = "label"
kind = "class"

# The labels are random: there is nothing to measure but cost.
[gates]
max_test_accuracy_drop = 1.0
max_retain_accuracy_drop = 1.0
max_mia_increase = 1.0
"""
HELD_OUT = 2000
CHUNK = 50_000


def table(path, first, rows, width, rng):
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = pa.schema([("id", pa.int64()), ("x", pa.list_(pa.float32(), width)), ("label", pa.int64())])
    with pq.ParquetWriter(path, kind, compression="zstd") as writer:
        for start in range(0, rows, CHUNK):
            n = min(CHUNK, rows - start)
            x = pa.FixedSizeListArray.from_arrays(pa.array(rng.standard_normal(n * width, dtype=np.float32)), width)
            ids = np.arange(first + start, first + start + n)
            writer.write_table(pa.table([ids, x, rng.integers(10, size=n)], schema=kind))


def data(folder, rows, share, widths):
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch

    import modules

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    table(folder / "train.parquet", 0, rows, widths[0], rng)
    table(folder / "held-out.parquet", rows, HELD_OUT, widths[0], rng)
    forget = rng.choice(rows, max(1, round(rows * share)), replace=False)
    pq.write_table(pa.table({"id": forget}), folder / "forget.parquet")
    (folder / "model.forget.toml").write_text(CONFIG)
    torch.manual_seed(0)
    names = {"input_names": ["x"], "output_names": ["scores"], "dynamic_axes": {"x": {0: "batch"}, "scores": {0: "batch"}}}
    model = modules.mlp(widths).eval()
    torch.onnx.export(model, (torch.zeros(2, widths[0]),), str(folder / "model.onnx"), opset_version=17, dynamo=False, **names)


def plot(results, svg):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "growth"
    import matplotlib.pyplot as plt

    panels = json.loads(results.read_text())["panels"]
    figure, axes = plt.subplots(2, len(panels), figsize=(3.4 * len(panels), 5.6), squeeze=False)
    for column, panel in enumerate(panels):
        lines = {}
        for point in panel["points"]:
            lines.setdefault(point["line"], []).append(point)
        for row, (key, label) in enumerate([("seconds", "seconds"), ("peak_mib", "peak memory, MiB")]):
            at = axes[row][column]
            for name, points in lines.items():
                at.plot([p["x"] for p in points], [p[key] for p in points], marker="o", label=name)
            if panel["log"]:
                at.set_xscale("log")
                at.set_yscale("log")
            else:
                at.set_ylim(0, 1.1 * at.get_ylim()[1])
            at.set_xlabel(panel["x"])
            at.set_ylabel(label)
            at.grid(alpha=0.3)
            if len(lines) > 1:
                at.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(svg, metadata={"Date": None})


if __name__ == "__main__":
    if sys.argv[1] == "data":
        data(Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), [int(w) for w in sys.argv[5:]])
    else:
        plot(Path(sys.argv[2]), Path(sys.argv[3]))
