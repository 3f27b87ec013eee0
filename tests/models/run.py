"""Runs `onnx-forget verify` on every model of a folder that make.py filled, and writes the results as a Markdown table.

    python run.py FOLDER --binary target/release/onnx-forget [--out RESULTS.md] [--strict]

One model at a time, at low priority. With --strict the exit code is 1 if a model failed that README.md does not expect to.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import onnx

LIMIT = 120  # seconds of processor time for each model: others may use the machine too
ROWS = 4
NICE = os.environ.get("NICE", "10")
# Models that must be refused, with the exit code: trees have no gradient.
REFUSED = {"lightgbm_trees": 3}


def nodes(path):
    model = onnx.load(path, load_external_data=False)
    return len(model.graph.node)


def verify(binary, path, extra):
    command = ["nice", "-n", NICE, str(binary), "verify", "--format", "json", "--offline", "--parity", "ort", "--samples", str(ROWS), *extra, str(path)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    limit = lambda: resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode < 0:
        return done.returncode, {}, f"no result within {LIMIT} s" if seconds >= LIMIT else done.stderr[-200:], seconds
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
    if found.get("gradient") and not found["gradient"]["passed"]:
        parts.append("gradient")
    return "; ".join(parts) or " ".join(done.stderr.split("\n")[-3:]).strip()


def noise(found):
    """What to say of a gradient that passed though its error is above 1 %."""
    checks = (found.get("gradient") or {}).get("checks", [])
    # An error is relative to a typical derivative, since one alone may be next to zero; so is the uncertainty.
    loud = [c["noise"] * c["rel_error"] / abs(c["ours"] - c["numeric"]) for c in checks if c["rel_error"] > 0.01]
    return f" (differences are uncertain by {max(loud):.1%})" if loud else ""


def number(x):
    return "" if x is None else f"{x:.1e}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", default="", help="a regular expression that the file name must hold")
    parser.add_argument("--strict", action="store_true")
    args, extra = parser.parse_known_args()
    rows, wrong, passed = [], [], 0
    for path in sorted(args.folder.glob("*.onnx")):
        name, exporter, opset = path.stem.rsplit(".", 2)
        if not re.search(args.only, path.stem):
            continue
        code, found, why, seconds = verify(args.binary, path, extra)
        if name in REFUSED:
            sound = code == REFUSED[name]
            result = f"refused, exit code {code}" + ("" if sound else f", expected {REFUSED[name]}")
        else:
            sound = code == 0
            result = f"passed{noise(found)}" if sound else f"exit code {code}: {why}"
        passed += sound
        if not sound:
            wrong.append(path.stem)
        forward = ((found.get("forward") or {}).get("runtimes") or [{}])[0].get("max_abs_diff")
        gradient = (found.get("gradient") or {}).get("max_rel_error")
        cells = (name, exporter, int(opset), nodes(path), number(forward), number(gradient), result.replace("|", "\\|")[:400])
        rows.append(cells)
        print(*cells, f"{seconds:.1f} s", sep="\t", flush=True)
    failed = args.folder / "failed.txt"
    lost = failed.read_text().splitlines() if failed.exists() else []
    if args.out:
        args.out.write_text(table(rows, passed, lost))
    print(f"{passed} of {len(rows)} as expected", file=sys.stderr)
    return int(bool(args.strict and (wrong or lost)))


def table(rows, passed, lost):
    text = [
        "# Models of public libraries",
        "",
        f"{passed} of {len(rows)} files pass `verify`, or are refused as they must be. Written by `run.py`; see [README.md](README.md).",
        "",
        "| model | exporter | opset | nodes | forward difference | gradient error | result |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    text += ["| " + " | ".join(map(str, row)) + " |" for row in sorted(rows, key=lambda r: (r[0], r[1] != "torchscript", r[2]))]
    if lost:
        text += ["", "What a library did not export:", "", "| model | why |", "| --- | --- |"]
        text += [f"| {line.split(chr(9))[0]} | {line.split(chr(9))[-1].replace('|', chr(92) + '|')} |" for line in lost]
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    sys.exit(main())
