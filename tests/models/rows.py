"""Asks `onnx-forget --dry-run` whether models of registry packages know rows that they answer, and rows that are read wrongly.

    python rows.py FOLDER --binary target/release/onnx-forget [--out RESULTS.md] [--only REGEX] [--strict]

FOLDER is what make.py filled. The right rows must end with exit code 0, each wrong reading with exit code 4 and the word that the model does
not know the rows. Rows that the program does not take must be refused, with the exit code and the words that rows_of.py says.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq

from results import cell, put
from rows_of import TRIALS

SECTION = "Are the rows known?"
SEED = 7
SECONDS = 300
NICE = os.environ.get("NICE", "10")
UNKNOWN = "does not know these rows"


def opened(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def dry_run(binary, model, trial, columns, config, extra):
    """Exit code, what was said, and seconds of one dry run."""
    table = pa.table({"id": np.arange(len(columns["label"])), **columns})
    with tempfile.TemporaryDirectory() as folder:
        path = lambda name: str(Path(folder, name))
        pq.write_table(table.slice(0, trial.train), path("train.parquet"))
        pq.write_table(table.slice(trial.train), path("test.parquet"))
        pq.write_table(table.select(["id"]).slice(0, trial.train // 8), path("forget.parquet"))
        Path(path("config.toml")).write_text(config)
        command = ["nice", "-n", NICE, str(binary), str(model), "--dry-run", "--offline", "--seed", "1", "--target", "label"]
        command += ["--forget", path("forget.parquet"), "--data", path("train.parquet"), "--test", path("test.parquet")]
        command += ["--config", path("config.toml"), "--out", path("out.onnx"), *trial.flags, *extra]
        started = time.monotonic()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return None, f"no result within {SECONDS} s", SECONDS
        return done.returncode, done.stderr.replace(folder, ""), time.monotonic() - started


def outcome(code, said):
    """What the program found, in one line."""
    figures = re.search(r"^rows known (.*)", said, re.MULTILINE)
    if code == 0:
        return figures[1] if figures else "known"
    if UNKNOWN in said and figures:
        reading = re.search(r"^ +1\. (.*? →.*?)(?:: |$)", said, re.MULTILINE)
        return f"not known: {figures[1]}. {reading[1] if reading else 'No other reading is better'}"
    found = re.search(r"^error: (.*)", said, re.MULTILINE)
    return f"exit code {code}: {found[1] if found else said.strip()}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="", help="a regular expression that the model's name must hold")
    parser.add_argument("--strict", action="store_true")
    args, extra = parser.parse_known_args()
    lines, wrong = [], []
    for name, make in TRIALS.items():
        if not re.search(args.only, name):
            continue
        (model,) = args.folder.glob(f"{name}.*.onnx")
        trial = make(opened(model), np.random.default_rng(SEED))
        readings = {"right" if not trial.refused else "refused": ({}, None), **trial.wrong}
        for reading, (changed, config) in readings.items():
            columns = {**trial.columns, **changed}
            code, said, seconds = dry_run(args.binary, model, trial, columns, trial.config if config is None else config, extra)
            expected, words = trial.refused or ((0, "") if reading == "right" else (4, UNKNOWN))
            sound = code == expected and words in said
            result = outcome(code, said)
            result += "" if sound else f"; expected {expected}" + (f' with "{words}"' if words else "")
            if not sound:
                wrong.append(f"{name}, {reading}")
            lines.append((name, reading, cell(result, 400), "yes" if sound else "**no**"))
            print(*lines[-1], f"{seconds:.1f} s", sep="\t", flush=True)
            if not sound and "-v" in extra:
                print(said)
    if args.out:
        put(args.out, SECTION, table(lines))
    print(f"{len(lines) - len(wrong)} of {len(lines)} as expected", flush=True)
    for which in wrong:
        print(f"not as expected: {which}", file=sys.stderr)
    return int(bool(args.strict and (wrong or not lines)))


def table(lines):
    text = ["What `--dry-run` says of rows that a model knows, and of the same rows read wrongly. Written by `rows.py`.", ""]
    text += ["| model | rows | result | as expected |", "| --- | --- | --- | --- |"]
    return "\n".join(text + ["| " + " | ".join(line) + " |" for line in lines])


if __name__ == "__main__":
    sys.exit(main())
