"""The program beside what users would take instead, onnx2torch and eager PyTorch, on the same work: python3 benches/compare.py

Builds, installs the peer's pinned packages under target/, exports the workloads, and runs both sides in turns. Prints Markdown tables
of median ratios (smallest to largest of the pairs) and writes everything to target/bench/compare.json. Ends with an error if the two
sides did not do the same work.
"""

import argparse
import hashlib
import json
import math
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from common import HERE, ROOT, WORK, Run, built, environment, machine, note, rows, variables

NAMES = ["resnet18", "vgg11bn", "mobilenetv2", "transformer", "vit", "mlp", "lstm"]
FIXTURE = "digits-cnn"
# Losses of so many first steps are compared, and may differ so much, relative to them: rounding in another order.
COMPARED_STEPS, AGREEMENT = 3, 1e-3
# The whole job takes its rows in an order of its own: accuracies afterward may differ so much.
ACCURACY_AFTER = 0.1


def same_work(name, ours, theirs):
    """Stops unless both runs made the same steps."""

    def require(what, a, b, good):
        if not good:
            raise SystemExit(f"{name}: not the same work: {what} is {a} in ours and {b} in the peer's")

    for mode in ("active", "inactive"):
        a, b = ours.events[mode], theirs.events[mode]
        for key in ("steps", "batch", "trained", "steps_with_forget_term"):
            require(f"{key} ({mode})", a[key], b[key], a[key] == b[key])
        wanted = a["steps"] if mode == "active" else 0
        require(f"steps with the forget term ({mode})", a["steps_with_forget_term"], wanted, a["steps_with_forget_term"] == wanted)
        pairs = [("τ", a["tau"][0], b["tau"][0])]
        for i in range(min(COMPARED_STEPS, a["steps"])):
            for j, which in enumerate(("forget", "retain")):
                pairs.append((f"the {which} loss of step {i} ({mode})", a["losses"][i][j], b["losses"][i][j]))
        for what, x, y in pairs:
            require(what, x, y, abs(x - y) <= AGREEMENT * abs(y))


def in_turns(pairs, ours, theirs):
    """Runs both sides so many times; who goes first alternates."""
    done = []
    for i in range(pairs):
        if i % 2:
            second = theirs()
            done.append((ours(), second))
        else:
            first = ours()
            done.append((first, theirs()))
    return done


def spread(values, digits=2):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}..{max(values):.{digits}f})"


def median(values):
    return statistics.median(list(values))


def rate(run, mode):
    return run.events[mode]["steps_per_second"]


def figures(pairs):
    """The four measures of a workload as (ours, peer's, ratios that say how much better ours is) each."""
    measures = {
        "active": (lambda r: rate(r, "active"), False),
        "inactive": (lambda r: rate(r, "inactive"), False),
        "first_step": (lambda r: r.events["first_step"]["at"], True),
        "peak_mib": (lambda r: r.peak_mib, True),
    }
    out = {"libraries_mib": [b.events["imported"]["mib"] for _, b in pairs]}
    for name, (of, less_is_better) in measures.items():
        ours, theirs = [of(a) for a, _ in pairs], [of(b) for _, b in pairs]
        # Memory is told as ours over the peer's, as a share; the others as how many times ours is faster.
        ratio = [b / a if less_is_better and name != "peak_mib" else a / b for a, b in zip(ours, theirs)]
        out[name] = {"ours": ours, "peer": theirs, "ratio": ratio}
    return out


def steps_table(results):
    head = ["workload", "steps/s, both terms", "PyTorch", "ratio", "steps/s, forget term inactive", "PyTorch", "ratio"]
    head += ["s to first step", "PyTorch", "ratio", "peak MiB", "PyTorch", "share"]
    body = []
    for about, found in results:
        cells = [f"{about['what']}, b{about['batch']}" + (" ¹" if about["module"] else "")]
        for measure, digits in [("active", 2), ("inactive", 2), ("first_step", 2), ("peak_mib", 0)]:
            f = found[measure]
            cells += [f"{median(f['ours']):.{digits}f}", f"{median(f['peer']):.{digits}f}", spread(f["ratio"])]
        body.append(cells)
    mean = lambda m: f"{math.exp(statistics.fmean(math.log(median(f[m]['ratio'])) for _, f in results)):.2f}"
    if len(results) > 1:
        cells = ["**geometric mean**"]
        for measure in ("active", "inactive", "first_step", "peak_mib"):
            cells += ["", "", mean(measure)]
        body.append(cells)
    text = rows(head, body)
    libraries = median(m for _, found in results for m in found["libraries_mib"])
    beyond = [median(a / (b - libraries) for a, b in zip(f["peak_mib"]["ours"], f["peak_mib"]["peer"])) for _, f in results]
    text += f"\n\nOf PyTorch's memory, {libraries:.0f} MiB are its libraries once imported. All of ours is at most "
    text += f"{max(beyond):.2f} of what PyTorch takes beyond them."
    if any(about["module"] for about, _ in results):
        text += "\n\n¹ onnx2torch has no recurrent layers: the peer is the PyTorch module that the file was exported from, with its weights."
    return text


def limit_table(results, limits):
    gemm, triad = limits["gemm_gflops"], limits["triad_gbytes"]
    head = ["workload", "GFLOP a step", "ours GFLOP/s", "PyTorch", "of the limit, ours", "PyTorch", "GB a step ²"]
    head += ["ours GB/s", "PyTorch", "of the roof ³, ours", "PyTorch"]
    body = []
    for about, found in results:
        flops, moved = 2 * about["flops"] / 1e9, (2 * about["bytes"] + about["optimizer_bytes"]) / 1e9
        rates = [median(found["active"][side]) for side in ("ours", "peer")]
        cells = [f"{about['what']}, b{about['batch']}", f"{flops:.1f}", *(f"{flops * r:.0f}" for r in rates)]
        cells += [f"{flops * r / gemm:.0%}" for r in rates]
        cells += [f"{moved:.2f}", *(f"{moved * r:.1f}" for r in rates)]
        cells += [f"{(flops / gemm + moved / triad) * r:.0%}" for r in rates]
        body.append(cells)
    text = f"The limit, measured beside each workload (the best): a 2048³ f32 product by faer {gemm:.0f} GFLOP/s, a triad {triad:.1f} GB/s.\n\n"
    text += rows(head, body)
    text += "\n\n² What all other operators and AdamW read and write, each by itself, forward and backward: fused, it is less."
    text += "\n³ The time that products at the GEMM's speed and these bytes at the triad's would take, over the step's."
    return text


def job_table(pairs):
    body = []
    for what, of, digits in [("seconds", lambda r: r.seconds, 2), ("peak MiB", lambda r: r.peak_mib, 0)]:
        ours, theirs = [of(a) for a, _ in pairs], [of(b) for _, b in pairs]
        ratio = [b / a if what == "seconds" else a / b for a, b in zip(ours, theirs)]
        kind = "times faster" if what == "seconds" else "share"
        body.append([what, f"{median(ours):.{digits}f}", f"{median(theirs):.{digits}f}", f"{spread(ratio)} {kind}"])
    return rows([f"whole job, `fixtures/{FIXTURE}`", "ours", "PyTorch", "ratio"], body)


def whole_job(program, python, env, threads, pairs):
    """The main job on a fixture, from process start to files written."""
    folder, out = ROOT / "fixtures" / FIXTURE, WORK / "job"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    ours = [program, folder / "model.onnx", "--forget", folder / "forget.parquet", "--offline", "--force"]
    ours += ["--out", out / "ours.onnx", "--report", out / "report", "--threads", threads]
    theirs = [python, HERE / "peer.py", "job", folder, out / "peer.onnx", threads]
    done = in_turns(pairs, lambda: Run(ours, env), lambda: Run(theirs, env))
    report, peer = json.loads((out / "report" / "report.json").read_text()), done[-1][1].events["report"]
    for key in ("steps", "batch_size", "epochs"):
        if report["unlearn"][key] != peer[key]:
            raise SystemExit(f"whole job: not the same work: {key} is {report['unlearn'][key]} in ours and {peer[key]} in the peer's")
    for when, allowed in (("before", AGREEMENT), ("after", ACCURACY_AFTER)):
        for part in ("forget", "retain", "test"):
            a, b = report["audit"][when][part]["accuracy"], peer[when][part]["accuracy"]
            if abs(a - b) > allowed:
                raise SystemExit(f"whole job: not the same work: {part} accuracy {when} is {a} in ours and {b} in the peer's")
    return done


def exported(python, program, folder, names, folded):
    """The workloads' folders, made anew if what makes them changed."""
    sources = [HERE / name for name in ("workloads.py", "modules.py", "requirements.txt")]
    stamp = hashlib.sha256(b"".join(s.read_bytes() for s in sources)).hexdigest()
    stale = [n for n in names if not (folder / n / stamp).exists()]
    if stale:
        note(f"exporting {', '.join(stale)} ...")
        for name in stale:
            shutil.rmtree(folder / name, ignore_errors=True)
        command = [python, HERE / "workloads.py", folder, program, *(["--folded"] if folded else []), *stale]
        subprocess.run(command, check=True, stdout=sys.stderr)
        for name in stale:
            (folder / name / stamp).touch()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="on both sides")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, help="timed in a run, instead of each workload's own number")
    parser.add_argument("--only", nargs="+", default=[*NAMES, "job"], choices=[*NAMES, "job"], metavar="NAME", help="of " + ", ".join([*NAMES, "job"]))
    parser.add_argument("--folded", action="store_true", help="BatchNormalization multiplied into the convolutions")
    parser.add_argument("--python", help="a Python that has requirements.txt, instead of a new environment")
    parser.add_argument("--out", type=Path, default=WORK / "compare.json", help="a .md file is written beside it")
    given = parser.parse_args()
    names = [n for n in NAMES if n in given.only]
    made = built("--bin", "onnx-forget", "--bench", "steps")
    program, steps = made["onnx-forget"], made["steps"]
    python = environment(given.python)
    env = variables(python, given.threads)
    folder = WORK / ("folded" if given.folded else "kept")
    exported(python, program, folder, names, given.folded)

    results, limits = [], []
    for name in names:
        about = json.loads((folder / name / "workload.json").read_text())
        count = given.steps or about["steps"]
        note(f"{name}: {given.pairs} pairs of {count} steps ...")
        limits.append(Run([steps, "limits", given.threads]).events[None])
        ours = [steps, folder / name, count, given.threads]
        theirs = [python, HERE / "peer.py", "steps", folder / name, count, given.threads]
        pairs = in_turns(given.pairs, lambda: Run(ours, env), lambda: Run(theirs, env))
        for a, b in pairs:
            same_work(name, a, b)
        results.append((about, figures(pairs)))
        note("  ratios: " + ", ".join(f"{k} {spread(v['ratio'])}" for k, v in results[-1][1].items() if "ratio" in v))
    best = {k: max(x[k] for x in limits) for k in ("gemm_gflops", "triad_gbytes")} if limits else {}
    parts = [machine(given.threads)]
    if results:
        parts += [steps_table(results), limit_table(results, best)]
    record = {"machine": parts[0], "threads": given.threads, "pairs": given.pairs, "folded": given.folded, "limits": limits}
    record["workloads"] = [about | found for about, found in results]
    if "job" in given.only:
        note("whole job ...")
        job = whole_job(program, python, env, given.threads, given.pairs)
        record["job"] = {side: [{"seconds": p[i].seconds, "peak_mib": p[i].peak_mib} for p in job] for i, side in enumerate(("ours", "peer"))}
        parts.append(job_table(job))
    text = "\n\n".join(parts) + "\n"
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    given.out.with_suffix(".md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
