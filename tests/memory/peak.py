"""Peak memory of each command on a model with large frozen tables, as a recommender has them.

    python tests/memory/peak.py FOLDER --gib 3 --binary target/release/onnx-forget

Makes the model and its rows in FOLDER unless they are there: 24 tables of rows of 32 numbers in external data, looked up by
the 24 columns of a row, and a small network on top, which alone is trained. Prints a table: the memory that only the process
and its children hold, which is not that of mapped files, and all of it. Needs onnx and numpy, and Linux.
"""

import argparse
import csv
import pathlib
import subprocess
import time

import numpy as np
from onnx import TensorProto, helper

TABLES, WIDTH, HIDDEN, CLASSES = 24, 32, 64, 3

CONFIG = """[data]
train = "train.csv"
validation = "validation.csv"
test = "test.csv"
id = "id"
[inputs.ids]
columns = [{columns}]
kind = "numeric"
[target]
column = "label"
kind = "class"
[unlearn]
epochs = 1
[gates]
{gates}
"""
GATES = [
    "max_test_accuracy_drop", "max_retain_accuracy_drop", "max_balanced_accuracy_drop", "max_mia_increase",
    "max_ks_increase", "max_forget_gain", "max_test_gain",
]


def make(folder: pathlib.Path, gib: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    rows = int(gib * 2**30) // (TABLES * WIDTH * 4)
    block = rng.normal(0, 0.1, (4096, WIDTH)).astype("<f4")
    tables, offset = [], 0
    with open(folder / "tables.bin", "wb") as data:
        for name in range(TABLES):
            tensor = TensorProto(name=f"table{name}", data_type=TensorProto.FLOAT, dims=[rows, WIDTH])
            tensor.data_location = TensorProto.EXTERNAL
            size = rows * WIDTH * 4
            for key, value in (("location", "tables.bin"), ("offset", offset), ("length", size)):
                tensor.external_data.add(key=key, value=str(value))
            for start in range(0, rows, len(block)):
                data.write(block[: rows - start].tobytes())
            tables.append(tensor)
            offset += size
    floats = lambda name, *dims: helper.make_tensor(
        name, TensorProto.FLOAT, dims, rng.normal(0, dims[0] ** -0.5, dims).astype("<f4").tobytes(), raw=True
    )
    nodes = []
    for n in range(TABLES):
        nodes.append(helper.make_node("Gather", ["ids", f"at{n}"], [f"id{n}"], axis=1))
        nodes.append(helper.make_node("Gather", [f"table{n}", f"id{n}"], [f"row{n}"]))
    nodes += [
        helper.make_node("Concat", [f"row{n}" for n in range(TABLES)], ["all"], axis=1),
        helper.make_node("Gemm", ["all", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["logits"]),
    ]
    at = [helper.make_tensor(f"at{n}", TensorProto.INT64, [], [n]) for n in range(TABLES)]
    small = [floats("w1", TABLES * WIDTH, HIDDEN), floats("b1", HIDDEN), floats("w2", HIDDEN, CLASSES), floats("b2", CLASSES)]
    graph = helper.make_graph(
        nodes,
        "recommender",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", TABLES])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])],
        tables + at + small,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    columns = [f"c{n}" for n in range(TABLES)]
    config = CONFIG.format(
        columns=", ".join(f'"{c}"' for c in columns), gates="\n".join(f"{gate} = inf" for gate in GATES)
    )
    (folder / "model.forget.toml").write_text(config)
    for name, first, count in (("train", 0, 600), ("validation", 1000, 200), ("test", 2000, 200)):
        with open(folder / f"{name}.csv", "w", newline="") as out:
            table = csv.writer(out)
            table.writerow(["id", *columns, "label"])
            for row in range(count):
                ids = rng.integers(0, rows, TABLES)
                table.writerow([first + row, *ids, int(ids[0]) % CLASSES])
    (folder / "forget.txt").write_text("".join(f"{n}\n" for n in range(0, 600, 10)))


def tree(pid: int) -> list[int]:
    found = [pid]
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += tree(int(child))
    return found


def peak(command: list[str], folder: pathlib.Path) -> tuple[int, float, float, float]:
    """Exit code, seconds, and the peaks in GiB."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    started, own, everything = time.time(), 0, 0
    while process.poll() is None:
        try:
            # In proportion to those that share a page: a child has those of its parent until it starts its own program.
            kinds = {"Pss_Anon": 0, "Pss": 0}
            for pid in tree(process.pid):
                for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    key, _, value = line.partition(":")
                    if key in kinds:
                        kinds[key] += int(value.split()[0]) * 1024
            own, everything = max(own, kinds["Pss_Anon"]), max(everything, kinds["Pss"])
        except OSError:
            pass
        time.sleep(0.01)
    if process.returncode:
        print(process.stderr.read().decode()[-600:])
    return process.returncode, time.time() - started, own / 2**30, everything / 2**30


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--gib", type=float, default=3)
    arguments.add_argument("--binary", type=pathlib.Path, default="target/release/onnx-forget")
    arguments = arguments.parse_args()
    if not (arguments.folder / "model.onnx").exists():
        make(arguments.folder, arguments.gib)
    program, frozen = str(arguments.binary.resolve()), ["--freeze", "table*"]
    job = ["model.onnx", "--forget", "forget.txt", *frozen, "--accept-unknown-rows", "--unlearn-anyway"]
    commands = {
        "inspect": ["inspect", "model.onnx"],
        "--dry-run": [*job, "--dry-run"],
        "verify": ["verify", "model.onnx", "--data", "test.csv", *frozen],
        "main job": [*job, "-o", "out.onnx", "--force"],
    }
    print("| command | exit | seconds | own memory, GiB | share of the model | with mapped files, GiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, command in commands.items():
        code, seconds, own, everything = peak([program, *command], arguments.folder)
        share = own / arguments.gib
        print(f"| {name} | {code} | {seconds:.0f} | {own:.2f} | {share:.2f} × | {everything:.2f} |", flush=True)


if __name__ == "__main__":
    main()
