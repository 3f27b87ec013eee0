"""The rows of an experiment: python rows.py NAME DATA OUT ROWS SHARE ...

Writes train, validation and test rows, forget-SHARE.parquet for each share (in %, or `class=N`), and config.toml. ROWS of 0 means all.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HEAD = """[data]
train = "train.parquet"
validation = "validation.parquet"
test = "test.parquet"
id = "id"

[inputs.x]
"""
IMAGE = """column = "image"
scale = 0.00392156862745098
mean = [0.4914, 0.4822, 0.4465]
std = [0.2470, 0.2435, 0.2616]
layout = "nchw"
"""
TARGET = '\n[target]\ncolumn = "label"\nkind = "{kind}"\n'


def halves(table):
    order = np.random.default_rng(1).permutation(len(table))
    half = len(order) // 2
    return table.take(order[:half]), table.take(order[half:])


def cifar10(data, rows):
    train, held = (pq.read_table(data / f"{part}.parquet") for part in ("train", "test"))
    return (train.slice(0, rows or len(train)), *halves(held)), IMAGE, "class"


def sms(data, rows):
    parts = [pq.read_table(data / f"{part}.parquet") for part in ("train", "validation", "test")]
    return (parts[0].slice(0, rows or len(parts[0])), *parts[1:]), 'column = "input_ids"\nkind = "tokens"\npadding = 0\nlength = 64\n', "class"


def table(_, rows):
    """Numbers that a small network makes of 32 others, with noise of a third of their size: what is learned beyond is memorized."""
    rng = np.random.default_rng(0)
    n = (rows or 8000) + 8000
    x = rng.standard_normal((n, 32)).astype(np.float32)
    hidden = np.tanh(x @ rng.standard_normal((32, 16)) / 4)
    y = hidden @ rng.standard_normal(16) / 2
    y = ((y - y.mean()) / y.std() + 0.5 * rng.standard_normal(n)).astype(np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), 32)
    whole = pa.table({"id": np.arange(n), "x": lists, "label": y})
    train, held = whole.slice(0, n - 8000), whole.slice(n - 8000)
    return (train, *halves(held)), 'column = "x"\n', "value"


def main():
    name, data, out, rows, *shares = sys.argv[1:]
    out = Path(out)
    parts, columns, kind = {"cifar10": cifar10, "sms": sms, "table": table}[name](Path(data), int(rows))
    for part, found in zip(("train", "validation", "test"), parts):
        pq.write_table(found, out / f"{part}.parquet")
    ids = parts[0]["id"]
    for share in shares:
        share, _, wanted = share.partition("=")
        if wanted:
            chosen = np.flatnonzero(parts[0]["label"].to_numpy() == int(wanted))
        else:
            chosen = np.sort(np.random.default_rng(0).choice(len(ids), len(ids) * int(share) // 100, replace=False))
        pq.write_table(pa.table({"id": ids.take(chosen)}), out / f"forget-{share}.parquet")
    (out / "config.toml").write_text(HEAD + columns + TARGET.format(kind=kind))


if __name__ == "__main__":
    main()
