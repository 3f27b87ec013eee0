"""Runs `onnx-forget verify` on every model of the folders that make.py filled, and writes the results as a Markdown table.

    python run.py FOLDER... --binary target/release/onnx-forget [--out RESULTS.md --section HEADING] [--strict]

One model at a time, at low priority. files.toml says what a model needs and which must be refused. With --strict the exit code is 1 if a
model did not pass, was not refused as it must be, or was not exported, or if there is none.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx

from of_packages import TABLE
from results import cell, put

LIMIT = 120  # seconds of processor time for each model: others may use the machine too
ROWS = 4
NICE = os.environ.get("NICE", "10")
FILES = TABLE["files"]


def nodes(path):
    model = onnx.load(path, load_external_data=False)
    return len(model.graph.node)


def verify(binary, path, entry, extra, parity="ort"):
    most = entry.get("seconds", LIMIT)
    command = ["nice", "-n", NICE, str(binary), "verify", "--format", "json", "--offline", "--parity", parity, "--samples", str(ROWS), *extra]
    command += [word for dim in entry.get("dims", []) for word in ("--dim", dim)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    limit = lambda: resource.setrlimit(resource.RLIMIT_CPU, (most, most))
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        if "config" in entry:
            config.write(entry["config"])
            config.flush()
            command += ["--config", config.name]
        done = subprocess.run([*command, str(path)], capture_output=True, text=True, preexec_fn=limit)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode < 0:
        return done.returncode, {}, f"no result within {most} s" if seconds >= most else done.stderr[-200:], seconds
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    found = json.loads(lines[-1]) if lines else {}
    return done.returncode, found, reason(done, found), seconds


def reason(done, found):
    """Why the model did not pass, in one line; empty if it did."""
    if done.returncode == 0:
        return ""
    if not found.get("supported", True):
        lines = found["reasons"]
        operators = sorted({m for line in lines for m in re.findall(r"(?:node [^:]*\(|operator )([\w.:]+?)(?:-\d+)?\)?:", line)})
        if len(lines) > 2 and operators:
            return f"not supported: {', '.join(operators)}"
        return " ".join(lines)
    parts = [found["forward"]["verdict"]] if found.get("forward") and not found["forward"]["passed"] else []
    gradient = found.get("gradient") or {"passed": True}
    if gradient.get("not_shown"):
        parts.append(f"gradient not shown: {gradient['not_shown']}")
    elif not gradient["passed"]:
        names = ", ".join(f["name"] for f in gradient["failing"][:3])
        parts.append(f"gradient wrong{' for ' + names if names else ''}")
    return "; ".join(parts) or " ".join(done.stderr.split("\n")[-3:]).strip()


def number(x):
    return "" if x is None else f"{x:.1e}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--section", default="Models of public libraries", help="the heading in OUT whose text is replaced")
    parser.add_argument("--only", default="", help="a regular expression that the file name must hold")
    parser.add_argument("--strict", action="store_true")
    args, extra = parser.parse_known_args()
    rows, wrong, passed, total = [], [], 0, 0.0
    for path in sorted(p for folder in args.folder for p in folder.glob("*.onnx")):
        name, exporter, opset = path.stem.rsplit(".", 2)
        if not re.search(args.only, path.stem):
            continue
        entry = FILES.get(name, {})
        code, found, why, seconds = verify(args.binary, path, entry, extra)
        if found.get("forward") and not found["forward"]["passed"]:
            # tract is the second witness: verify knows when two runtimes differ from each other by as much.
            code, found, why, more = verify(args.binary, path, entry, extra, "both")
            seconds += more
        if "code" in entry:
            sound = code == entry["code"] and entry["says"] in why
            expected = "" if sound else f"; expected {entry['code']} with \"{entry['says']}\""
            result = f"refused, exit code {code}: {why}{expected}"
        else:
            sound = code == 0
            witness = len((found.get("forward") or {}).get("runtimes", [])) > 1
            result = ("passed: " + found["forward"]["verdict"] if witness else "passed") if sound else f"exit code {code}: {why}"
        passed += sound
        if not sound:
            wrong.append(path.stem)
        forward = ((found.get("forward") or {}).get("runtimes") or [{}])[0].get("max_abs_diff")
        gradient = found.get("gradient") or {}
        error, noise = number(gradient.get("max_rel_error")), number(gradient.get("max_rel_noise"))
        total += seconds
        cells = (name, exporter, int(opset), nodes(path), number(forward), error, noise, cell(result, 400))
        rows.append(cells)
        print(*cells, f"{seconds:.1f} s", sep="\t", flush=True)
    failed = [folder / "failed.txt" for folder in args.folder]
    lost = [line for file in failed if file.exists() for line in file.read_text().splitlines()]
    if args.out:
        put(args.out, args.section, table(rows, passed, lost))
    print(f"{passed} of {len(rows)} as expected, in {total:.0f} s of processor time", flush=True)
    for stem in wrong:
        print(f"not as expected: {stem}", file=sys.stderr)
    return int(bool(args.strict and (wrong or lost or not rows)))


def table(rows, passed, lost):
    text = [
        f"{passed} of {len(rows)} files pass `verify`, or are refused as they must be. Written by `run.py`; see [README.md](README.md).",
        "",
        "| model | exporter | opset | nodes | forward difference | gradient error | uncertain by | result |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    text += ["| " + " | ".join(map(str, row)) + " |" for row in sorted(rows, key=lambda r: (r[0], r[1] != "torchscript", r[2]))]
    if lost:
        text += ["", "What could not be made:", "", "| model | why |", "| --- | --- |"]
        text += [f"| {line.split(chr(9))[0]} | {cell(line.split(chr(9))[-1])} |" for line in lost]
    return "\n".join(text)


if __name__ == "__main__":
    sys.exit(main())
