"""The program beside PyTorch on one GPU: python3 gpu.py FOLDER PROGRAM STEPS [--out FILE] [NAME ...]

For a machine without a network. Needs torch, torchvision, onnx, onnxruntime and pyarrow. PROGRAM and STEPS are built with
`--features cuda`. Workloads are those of compare.py with more rows in a batch. The peer is the module that the file is exported from,
with the same weights, in the published loop: its rows are in pinned memory, and nothing waits for the GPU within a step. It runs

  eager            f32, without TF32
  eager-tf32       with TF32 in products and convolutions
  compiled, compiled-tf32     both with torch.compile

The Markdown table in FILE is written anew after each measurement, so that what is done is there if time runs out.
"""

import argparse
import dataclasses
import json
import math
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Rows in a batch, timed steps, and whether the compiled peer runs.
GPU = {
    "resnet18": (1024, 10, True),
    "transformer": (1024, 10, True),
    "vit": (1024, 10, True),
    "mlp": (8192, 200, True),
    "vgg11bn": (1024, 10, True),
    "mobilenetv2": (512, 10, True),
    "lstm": (1024, 20, False),
}
MODES = ["eager", "eager-tf32", "compiled", "compiled-tf32"]
# Losses of so many first steps are compared, and may differ so much, relative to them.
COMPARED_STEPS, AGREEMENT = 3, 1e-3


def workload(name):
    import workloads

    batch, steps, _ = GPU[name]
    workloads.BATCHES = 2
    workloads.WORKLOADS[name] = dataclasses.replace(workloads.WORKLOADS[name], batch=batch, steps=steps)
    return workloads


def make(folder, program, name):
    workload(name).make(name, folder / name, program, False)


# --- the peer ------------------------------------------------------------------------------------------------------


def step(model, optimizer, forget, retain, tau, alpha):
    """One step of the published loop, whose losses stay on the GPU."""
    import torch
    import torch.nn.functional as F

    forget_loss = F.cross_entropy(model(forget[0]), forget[1])
    retain_loss = F.cross_entropy(model(retain[0]), retain[1])
    loss = alpha * torch.relu(tau - forget_loss) ** 2 + (1 - alpha) * retain_loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return forget_loss.detach(), retain_loss.detach()


def peer(folder, device, modes):
    """Measures `modes`, each on the weights that the file was exported from."""
    import copy

    import torch
    from peer import say, table

    about = json.loads((folder / "workload.json").read_text())
    batch, count = about["batch"], about["steps"]
    exported = workload(about["name"]).module(about["name"])[0]
    x, y = table(folder / "train.parquet", about["row"])
    held_x, held_y = table(folder / "validation.parquet", about["row"])
    cuda = device == "cuda"
    pinned = lambda t: t.pin_memory() if cuda else t
    cut = lambda first, last: [(pinned(x[i : i + batch]), pinned(y[i : i + batch])) for i in range(first, last, batch)]
    forget, retain = cut(0, len(y) // 2), cut(len(y) // 2, len(y))
    there = lambda rows: tuple(t.to(device, non_blocking=True) for t in rows)
    wait = torch.cuda.synchronize if cuda else lambda: None
    for mode in modes:
        tf32 = mode.endswith("tf32")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        model = copy.deepcopy(exported).to(device)
        if about["module"] == "lstm":
            # cuDNN's recurrent layers have a backward pass in training mode alone; the module has no dropout.
            model.train()
        with torch.no_grad():
            tau = torch.nn.functional.cross_entropy(model(held_x.to(device)), held_y.to(device)).item()
        run = torch.compile(model) if mode.startswith("compiled") else model
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
        losses = []
        # The first is compiled or chosen for, the second is the first of the rest.
        for i in range(count + 1):
            losses.append(step(run, optimizer, there(forget[i % len(forget)]), there(retain[i % len(retain)]), tau, 0.25))
            if i == 0:
                wait()
                start = time.perf_counter()
        wait()
        seconds = time.perf_counter() - start
        losses = [[f.item(), r.item()] for f, r in losses]
        trained = sum(p.numel() for p in model.parameters())
        say(mode, steps=len(losses), batch=batch, trained=trained, tau=[tau], losses=losses, steps_per_second=count / seconds)
        del model, run, optimizer
        if cuda:
            torch.cuda.empty_cache()


# --- both sides ----------------------------------------------------------------------------------------------------


def events(command, limit, env=None):
    """The JSON lines of a child by event, those until it failed or ran out of time included, and what went wrong."""
    command = list(map(str, command))
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=Path(__file__).parent)
    try:
        out, errors = child.communicate(timeout=limit)
        wrong = None if child.returncode == 0 else f"exit code {child.returncode}: {' '.join(errors.split())[-400:]}"
    except subprocess.TimeoutExpired:
        child.kill()
        out, _ = child.communicate()
        wrong = f"stopped after {limit:.0f} s"
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return {x["event"]: x for x in lines}, wrong


def differences(ours, theirs):
    """What is not the same work in f32, in words."""
    said = [f"{k} {ours[k]} and {theirs[k]}" for k in ("steps", "batch", "trained") if ours[k] != theirs[k]]
    pairs = [("τ", ours["tau"][0], theirs["tau"][0])]
    for i in range(min(COMPARED_STEPS, ours["steps"], theirs["steps"])):
        pairs += [(f"loss {i}", a, b) for a, b in zip(ours["losses"][i], theirs["losses"][i])]
    return said + [f"{what} {a:.5f} and {b:.5f}" for what, a, b in pairs if not abs(a - b) <= AGREEMENT * abs(b)]


def markdown(results):
    from common import rows

    head = ["workload", "rows in a batch", "ours, steps/s", "ours, TF32", *(f"PyTorch {m}" for m in MODES), "ours / eager", "remarks"]
    body, ratios = [], []
    for name, about, ours, theirs, remarks in results:
        rate = lambda found, event: found[event]["steps_per_second"] if event in found else None
        shown = lambda value: "–" if value is None else f"{value:.2f}"
        mine, eager = rate(ours, "active"), rate(theirs, "eager")
        ratio = mine / eager if mine and eager else None
        ratios += [ratio] if ratio else []
        cells = [about.get("what", name), str(GPU[name][0]), shown(mine), shown(rate(ours, "active-tf32")), *(shown(rate(theirs, m)) for m in MODES)]
        body.append([*cells, shown(ratio), "; ".join(remarks).replace("|", "/")])
    text = rows(head, body)
    if ratios:
        text += f"\n\nGeometric mean of ours / eager: {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}."
    return text + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("program", type=Path)
    parser.add_argument("steps", type=Path)
    parser.add_argument("names", nargs="*", default=list(GPU))
    parser.add_argument("--out", type=Path, default=Path("gpu.md"))
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu: to try this script")
    parser.add_argument("--shrink", type=int, default=1, help="rows in a batch, divided by this")
    parser.add_argument("--limit", type=float, default=60, help="seconds that one side may take for a workload")
    parser.add_argument("--make", action="store_true", help="only make the workloads")
    parser.add_argument("--peer", help="only run the peer in these modes, divided by commas")
    given = parser.parse_intermixed_args()
    for name, (batch, steps, compiles) in GPU.items():
        GPU[name] = (max(batch // given.shrink, 1), max(steps // given.shrink, 1), compiles)
    if given.make:
        return make(given.folder, given.program.resolve(), given.names[0])
    if given.peer:
        return peer(given.folder / given.names[0], given.device, given.peer.split(","))
    folder, program, steps = (path.resolve() for path in (given.folder, given.program, given.steps))
    this = [sys.executable, Path(__file__).resolve(), folder, program, steps, "--device", given.device, "--shrink", given.shrink]
    threads = os.cpu_count() or 1
    few = os.environ | {"OMP_NUM_THREADS": str(max(threads // 4, 1))}
    wrong = {}
    with ThreadPoolExecutor() as pool:
        making = {name: pool.submit(events, [*this, name, "--make"], given.limit, few) for name in given.names}
        for name, result in making.items():
            wrong[name] = result.result()[1]
    results = []
    side = ["--cuda"] if given.device == "cuda" else []

    def measure(name):
        if wrong[name]:
            results.append((name, {}, {}, {}, [f"not exported: {wrong[name]}"]))
        else:
            about = json.loads((folder / name / "workload.json").read_text())
            ours, fault = events([steps, *side, folder / name, about["steps"], threads], given.limit)
            if side:
                rounded, _ = events([steps, "--cuda-tf32", folder / name, about["steps"], threads], given.limit)
                ours |= {"active-tf32": rounded[e] for e in ("active",) if e in rounded}
            theirs, other = events([*this, name, "--peer", "eager,eager-tf32"], given.limit)
            remarks = [f"ours: {fault}"] if fault else []
            remarks += [f"PyTorch: {other}"] if other else []
            if "active" in ours and "eager" in theirs:
                remarks += [f"not the same work: {d}" for d in differences(ours["active"], theirs["eager"])]
            results.append((name, about, ours, theirs, remarks))
        given.out.write_text(markdown(results))

    def measure_compiled(name, about, ours, theirs, remarks):
        if about:
            found, other = events([*this, name, "--peer", "compiled,compiled-tf32"], given.limit)
            theirs |= found
            remarks += [f"compiled: {other}"] if other else []
        given.out.write_text(markdown(results))

    for name in given.names:
        measure(name)
    # Last, for it takes longest.
    for result in results:
        if GPU[result[0]][2]:
            measure_compiled(*result)
    given.out.with_suffix(".json").write_text(json.dumps([r[0:4] for r in results], indent=1) + "\n")
    print(given.out.read_text(), end="")


if __name__ == "__main__":
    main()
