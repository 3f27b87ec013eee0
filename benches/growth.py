"""How cost grows with the work: python3 benches/growth.py

Runs the program's main job on synthetic tables, once a point: against rows, forgotten share, model size and threads. Writes the table
benches/growth.md, the plot benches/growth.svg and target/bench/growth.json.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from common import HERE, WORK, Run, built, environment, machine, note, rows, variables

MLP = [100, 512, 512, 10]
# Rows are streamed from files where more than so many MiB of them would have to be kept; the other line keeps all.
STREAMED_MIB = 16


def sized(parameters):
    """An MLP of about so many parameters, most of them in two square layers."""
    width = round((parameters / 2) ** 0.5)
    return [100, width, width, width, 10]


def plan(most_rows, largest):
    """The panels: what is on the x axis, and for each point where it is drawn, the job, and the flags and settings."""
    decades = [n for n in (10**3, 10**4, 10**5, 10**6) if n <= most_rows]
    sizes = [n for n in (10**6, 10**7, 10**8) if n <= largest]
    base = min(10**5, most_rows)
    memory = {"kept in memory": None, f"streamed (memory_mib = {STREAMED_MIB})": STREAMED_MIB}
    point = lambda line, x, rows, share, widths, mib=None, flags=(): locals()
    # The list of ids, and what is measured of the rows to forget, grow with their number: here it stays.
    same = "streamed, 1,000 forgotten"
    few = ("--batch-size", "256", "--epochs", "5")
    return [
        {
            "x": "training rows",
            "log": True,
            "points": [point(line, n, n, 0.1, MLP, mib) for line, mib in memory.items() for n in decades]
            + [point(same, n, n, 1000 / n, MLP, STREAMED_MIB) for n in decades if n >= 10**4],
        },
        {"x": "forgotten share, %", "log": False, "points": [point("", s, base, s / 100, MLP) for s in (1, 3, 10, 20, 30)]},
        {"x": "parameters", "log": True, "points": [point("", n, 4096, 0.1, sized(n), None, few) for n in sizes]},
        {"x": "threads", "log": False, "points": [point("", t, base, 0.1, MLP, None, ("--threads", str(t))) for t in (1, 2)]},
    ]


def measured(point, program, python, env, threads):
    """Adds seconds, steps and peak memory of the main job to a point."""
    widths = list(map(str, point["widths"]))
    folder = WORK / "growth" / "-".join([str(point["rows"]), str(point["share"]), *widths])
    if not (folder / "model.onnx").exists():
        subprocess.run([python, HERE / "growth_parts.py", "data", folder, str(point["rows"]), str(point["share"]), *widths], check=True, stdout=sys.stderr, stderr=subprocess.DEVNULL)
    config = folder / "run.toml"
    text = (folder / "model.forget.toml").read_text()
    config.write_text(text if point["mib"] is None else text.replace("[data]\n", f"[data]\nmemory_mib = {point['mib']}\n"))
    out = WORK / "growth" / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    command = [program, folder / "model.onnx", "--config", config, "--forget", folder / "forget.parquet", "--offline"]
    # Rows and weights are made up.
    command += ["--out", out / "model.onnx", "--report", out, "--accept-unknown-rows", "--unlearn-anyway", *point["flags"]]
    run = Run([*command, *([] if "--threads" in point["flags"] else ["--threads", threads])], env)
    report = json.loads((out / "report.json").read_text())
    unlearned = {"steps": report["unlearn"]["steps"], "unlearning": report["unlearn"]["seconds"], "parameters": report["model"]["parameters"]}
    return point | {"seconds": run.seconds, "peak_mib": run.peak_mib, "timings": report["timings"]} | unlearned


def markdown(panels, given):
    parts = []
    for panel in panels:
        head = ["training rows", "forgotten", "parameters", "rows are", "threads", "steps", "ms a step", "seconds, whole job", "peak MiB"]
        body = []
        for p in panel["points"]:
            threads = str(p["x"] if panel["x"] == "threads" else given)
            cells = [f"{p['rows']:,}", f"{p['share'] * p['rows']:,.0f}", f"{p['parameters']:,}", p["line"].split(" (")[0].split(",")[0] or "kept in memory"]
            steps = [str(p["steps"]), f"{1e3 * p['unlearning'] / p['steps']:.1f}"]
            body.append([*cells, threads, *steps, f"{p['seconds']:.1f}", f"{p['peak_mib']:.0f}"])
        parts.append(f"Against {panel['x'].removesuffix(', %')}:\n\n{rows(head, body)}")
    return "\n\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--most-rows", type=int, default=10**6)
    parser.add_argument("--largest", type=int, default=10**8, metavar="PARAMETERS")
    parser.add_argument("--python", help="a Python that has requirements.txt, instead of a new environment")
    parser.add_argument("--out", type=Path, default=HERE, metavar="FOLDER", help="where growth.md and growth.svg go")
    given = parser.parse_args()
    program = built("--bin", "onnx-forget")["onnx-forget"]
    python = environment(given.python)
    env = variables(python, given.threads)
    panels = plan(given.most_rows, given.largest)
    for panel in panels:
        for i, point in enumerate(panel["points"]):
            panel["points"][i] = found = measured(point, program, python, env, given.threads)
            note(f"{panel['x']} {point['x']:,} {point['line']}: {found['seconds']:.1f} s, {found['peak_mib']:.0f} MiB")
    results = WORK / "growth.json"
    results.write_text(json.dumps({"machine": machine(given.threads), "panels": panels}, indent=1) + "\n")
    text = f"{machine(given.threads)}\n\n{markdown(panels, given.threads)}\n"
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "growth.md").write_text(text)
    subprocess.run([python, HERE / "growth_parts.py", "plot", results, given.out / "growth.svg"], check=True)
    print(text, end="")


if __name__ == "__main__":
    main()
