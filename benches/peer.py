"""What users would take instead: the same ONNX file through onnx2torch, and the published loop in eager PyTorch.

    python peer.py steps FOLDER STEPS THREADS     the counterpart of steps.rs, on a folder of workloads.py
    python peer.py job FIXTURE OUT THREADS        the counterpart of the program's main job, on a fixture's folder

`job` does what a careful user would do by hand: read model and rows, measure accuracy and membership inference, unlearn, measure
again, write the weights into a copy of the file, and compare it with onnxruntime.
"""

import json
import sys
import time
from pathlib import Path

import onnx
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from onnx import numpy_helper


def say(event, **values):
    print(json.dumps({"event": event, **values}), flush=True)


def imported(converting=True):
    """Says how much memory the libraries alone take, before any model or row is read."""
    import resource

    if converting:
        import onnx2torch  # noqa: F401

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    say("imported", mib=peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))


def converted(path, trained):
    """The file as a module in evaluation mode. What the program trains is a parameter here too: onnx2torch keeps initializers that
    belong to no layer as buffers. Also the tensor of each trained initializer, by name, and whether it is transposed."""
    from onnx2torch import convert

    file = onnx.load(path)
    model = convert(file, attach_onnx_mapping=True).eval()
    stored = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in file.graph.initializer if t.name in trained}
    found = {}

    def match(tensor):
        for name, value in stored.items():
            if name not in found and value.shape == tensor.shape and torch.equal(value, tensor):
                return name, False
            if name not in found and value.dim() == 2 and value.T.shape == tensor.shape and torch.equal(value.T, tensor):
                return name, True
        return None, False

    for module in model.modules():
        for own, buffer in list(module.named_buffers(recurse=False)):
            name, transposed = match(buffer) if buffer.is_floating_point() else (None, False)
            if name and not transposed:
                delattr(module, own)
                module.register_parameter(own, torch.nn.Parameter(buffer))
                found[name] = (getattr(module, own), False)
        for parameter in module.parameters(recurse=False):
            if not any(parameter is p for p, _ in found.values()):
                name, transposed = match(parameter)
                if name:
                    found[name] = (parameter, transposed)
                else:
                    parameter.requires_grad_(False)
    missing = sorted(set(trained) - set(found))
    if missing:
        raise SystemExit(f"{path}: not found in the converted module: {missing}")
    return model, found


def step(model, optimizer, forget, retain, tau, alpha):
    """One step of the published loop."""
    forget_loss = F.cross_entropy(model(forget[0]), forget[1])
    retain_loss = F.cross_entropy(model(retain[0]), retain[1])
    loss = alpha * torch.relu(tau - forget_loss) ** 2 + (1 - alpha) * retain_loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return forget_loss.item(), retain_loss.item()


def table(path, row):
    rows = pq.read_table(path)
    x = rows["x"].combine_chunks().flatten().to_numpy()
    return torch.from_numpy(x.copy()).reshape(-1, *row), torch.from_numpy(rows["label"].to_numpy().copy())


def exported_model(folder, about):
    """A workload's model with the weights of its file."""
    if not about["module"]:
        return converted(folder / "model.onnx", about["trained"])[0]
    import modules

    model = getattr(modules, about["module"])()
    model.load_state_dict(torch.load(folder / "weights.pt"))
    return model.eval()


def steps(folder, count):
    about = json.loads((folder / "workload.json").read_text())
    batch = about["batch"]
    imported(not about["module"])
    x, y = table(folder / "train.parquet", about["row"])
    forgotten = len(pq.read_table(folder / "forget.parquet"))
    cut = lambda first, last: [(x[i : i + batch], y[i : i + batch]) for i in range(first, last, batch)]
    forget, retain = cut(0, forgotten), cut(forgotten, len(y))
    for active, part in [(True, "validation"), (False, "test")]:
        model = exported_model(folder, about)
        parameters = [p for p in model.parameters() if p.requires_grad]
        with torch.no_grad():
            held_x, held_y = table(folder / f"{part}.parquet", about["row"])
            tau = F.cross_entropy(model(held_x), held_y).item()
        optimizer = torch.optim.AdamW(parameters, lr=1e-5, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
        losses = []
        for i in range(count + 1):
            losses.append(step(model, optimizer, forget[i % len(forget)], retain[i % len(retain)], tau, 0.25))
            if i == 0:
                start = time.perf_counter()
                if active:
                    say("first_step")
        seconds = time.perf_counter() - start
        say(
            "active" if active else "inactive",
            steps=len(losses),
            steps_with_forget_term=sum(f < tau for f, _ in losses),
            batch=batch,
            trained=sum(p.numel() for p in parameters),
            tau=[tau],
            losses=losses,
            steps_per_second=count / seconds,
        )


# --- the whole job -------------------------------------------------------------------------------------------------


def pictures(path, table):
    """Rows of a fixture of images, prepared as its configuration says."""
    import io

    import numpy as np
    from PIL import Image

    rows, given = pq.read_table(path), table["inputs"]["image"]
    cells = rows["image"].to_pylist()
    images = np.stack([np.asarray(Image.open(io.BytesIO(c["bytes"] if isinstance(c, dict) else c))) for c in cells])
    mean, std = (torch.tensor(given[k], dtype=torch.float32) for k in ("mean", "std"))
    x = (torch.from_numpy(images)[:, None].float() * given["scale"] - mean) / std
    return x, torch.from_numpy(rows["label"].to_numpy().astype("int64")), rows["id"].to_pylist()


def scores(model, x, y):
    """Losses, entropies, and the share of right answers."""
    with torch.no_grad():
        logits = torch.cat([model(part) for part in x.split(256)])
    p = torch.softmax(logits.double(), 1)
    loss = F.cross_entropy(logits, y, reduction="none")
    return loss, -torch.special.xlogy(p, p).sum(1), (logits.argmax(1) == y).double().mean().item()


def membership(members, others):
    """Ten stratified shuffle splits of a logistic regression on one figure a row."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score

    rng, n = np.random.default_rng(0), min(len(members), len(others))
    x = np.concatenate([rng.permutation(members.numpy())[:n], rng.permutation(others.numpy())[:n]])[:, None]
    cv = StratifiedShuffleSplit(n_splits=10, test_size=0.1, random_state=0)
    return float(cross_val_score(LogisticRegression(C=1.0), x, np.repeat([1, 0], n), cv=cv).mean())


def audit(model, sets):
    found = {name: scores(model, *rows) for name, rows in sets.items()}
    out = {name: {"loss": loss.mean().item(), "accuracy": right} for name, (loss, _, right) in found.items()}
    figures = [membership(found["forget"][i], found["test"][i]) for i in (0, 1)]
    return out | {"mia": {"loss": figures[0], "entropy": figures[1]}}


def plan(forget, retain):
    """All that the method leaves to the sizes of the sets, by the program's rules."""
    batch = min(max(1 << (max((forget + retain) // 128, 1).bit_length() - 1), 4), 256)
    forget_batches, retain_batches = -(-forget // batch), -(-retain // batch)
    epochs = min(max(int(retain_batches / (2 * forget_batches) * 6), 1), 80)
    alpha = min(5 / 3 * forget / (forget + retain), 0.5)
    return batch, epochs, alpha, max(retain_batches // forget_batches, 1)


def unlearn(model, forget, retain, validation):
    """The published loop, in evaluation mode."""
    batch, epochs, alpha, restart = plan(len(forget[1]), len(retain[1]))
    generator = torch.Generator().manual_seed(0)

    def passes(x, y):
        for rows in torch.randperm(len(y), generator=generator).split(batch):
            yield x[rows], y[rows]

    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, epochs)
    done, others = 0, iter(())
    for epoch in range(epochs):
        if epoch % 5 == 0:
            tau = scores(model, *validation)[0].mean().item()
        if epoch % restart == 0:
            others = passes(*retain)
        for rows in passes(*forget):
            other = next(others, None)
            if other is None:
                others = passes(*retain)
                other = next(others)
            step(model, optimizer, rows, other, tau, alpha * (1 - epoch / epochs))
            done += 1
        schedule.step()
    return {"steps": done, "batch_size": batch, "epochs": epochs}


def job(folder, out):
    import tomllib

    import numpy as np
    import onnxruntime as ort

    table = tomllib.loads((folder / "model.forget.toml").read_text())
    file = onnx.load(folder / "model.onnx")
    running = {name for node in file.graph.node if node.op_type == "BatchNormalization" for name in node.input[3:5]}
    trained = [t.name for t in file.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and t.name not in running]
    model, found = converted(folder / "model.onnx", trained)
    x, y, ids = pictures(folder / "train.parquet", table)
    listed = set(pq.read_table(folder / "forget.parquet")["id"].to_pylist())
    forgotten = torch.tensor([i in listed for i in ids])
    validation, test = (pictures(folder / f"{part}.parquet", table)[:2] for part in ("validation", "test"))
    sets = {"forget": (x[forgotten], y[forgotten]), "retain": (x[~forgotten], y[~forgotten]), "test": test}
    before = audit(model, sets)
    steps = unlearn(model, sets["forget"], sets["retain"], validation)
    after = audit(model, sets)
    for tensor in file.graph.initializer:
        if tensor.name in found:
            parameter, transposed = found[tensor.name]
            value = (parameter.T if transposed else parameter).detach().contiguous().numpy()
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    onnx.save(file, out)
    session = ort.InferenceSession(out, providers=["CPUExecutionProvider"])
    rows = x[:256]
    with torch.no_grad():
        worst = np.abs(session.run(None, {session.get_inputs()[0].name: rows.numpy()})[0] - model(rows).numpy()).max()
    if not worst < 1e-3:
        raise SystemExit(f"{out}: onnxruntime differs from PyTorch by {worst}")
    say("report", before=before, after=after, worst=float(worst), **steps)


if __name__ == "__main__":
    what, *arguments, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    if what == "steps":
        steps(Path(arguments[0]), int(arguments[1]))
    elif what == "job":
        job(Path(arguments[0]), Path(arguments[1]))
    else:
        raise SystemExit(__doc__)
