"""Six small models of tasks beyond one class a row, each trained until it knows its rows by heart, and three more of each without the rows
to forget:

    python experiments/tasks/make.py FOLDER        # needs torch, scikit-learn, pyarrow, onnx

The pictures are scikit-learn's handwritten digits; the words are the language reference that Python ships (`pydoc_data.topics`).
"""

import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn as nn
import torch.nn.functional as F
from onnx import TensorProto, helper
from pydoc_data import topics
from sklearn.datasets import load_digits

torch.set_num_threads(2)
SHARE = 0.2
WORDS = 400


def rng(seed):
    return np.random.default_rng(seed)


class Sequential(nn.Sequential):
    def forward(self, *x):
        return super().forward(*x)


class Task:
    """`columns` are what a row has; `loss(net, rows)` is the mean loss that the model is trained by."""

    epochs, rate, batch, sizes = 60, 2e-3, 32, (900, 400, 490)
    toml, graph = "", None

    def export(self, net, path):
        net.eval()
        names = {name: {0: "rows"} for name in [*self.inputs, *self.outputs]}
        example = tuple(self.tensors[name][:2] for name in self.feeds)
        torch.onnx.export(
            net, example, str(path), input_names=self.inputs, output_names=self.outputs, dynamic_axes=names, dynamo=False, opset_version=17
        )

    def train(self, rows, seed):
        torch.manual_seed(seed)
        net = self.net()
        optimizer = torch.optim.AdamW(net.parameters(), self.rate, weight_decay=0.01)
        steps = self.epochs * -(-len(rows) // self.batch)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
        for _ in range(self.epochs):
            for part in rows[torch.randperm(len(rows))].split(self.batch):
                loss = self.loss(net, part)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        print(type(self).__name__, f"seed {seed}, loss of the last batch {float(loss):.4f}", flush=True)
        return net

    def write(self, folder):
        folder = folder / type(self).__name__.lower()
        folder.mkdir(parents=True, exist_ok=True)
        n, v, t = self.sizes
        forget = rng(5).choice(n, int(n * SHARE), replace=False)
        everything = torch.arange(n)
        kept = torch.tensor(np.setdiff1d(np.arange(n), forget))
        self.export(self.train(everything, 0), folder / "model.onnx")
        for seed in (1, 2, 3):
            self.export(self.train(kept, seed), folder / f"retrained-{seed}.onnx")
        for name, first, last in [("train", 0, n), ("validation", n, n + v), ("test", n + v, n + v + t)]:
            columns = {key: list(values[first:last]) for key, values in self.columns.items()}
            pq.write_table(pa.table({"id": list(range(first, last)), **columns}), folder / f"{name}.parquet")
        pq.write_table(pa.table({"id": forget.tolist()}), folder / "forget.parquet")
        files = "".join(f'{name} = "{name}.parquet"\n' for name in ("train", "validation", "test"))
        (folder / "model.forget.toml").write_text(f"[data]\n{files}id = \"id\"\n{self.toml}")
        if self.graph:
            self.graph(folder / "loss.onnx")


def digits(count, seed, noise=0.15):
    """Pictures of digits with some noise, and which digits they are."""
    data = load_digits()
    order = rng(seed).permutation(len(data.images))[:count]
    pictures = data.images[order] / 16 + noise * rng(seed + 1).normal(size=(count, 8, 8))
    return pictures.astype(np.float32), data.target[order]


def sentences(length, count, seed):
    """Windows of words of Python's language reference, as numbers of the most common words; 1 stands for the others."""
    text = " ".join(topics.topics[key] for key in sorted(topics.topics))
    words = re.findall(r"[a-z]+|[0-9]+|[^\sa-z0-9]", text.lower())
    common = {}
    for word in words:
        common[word] = common.get(word, 0) + 1
    ranked = sorted(common, key=lambda word: (-common[word], word))[: WORDS - 2]
    number = {word: i + 2 for i, word in enumerate(ranked)}
    starts = rng(seed).choice(len(words) // length, count, replace=False) * length
    return np.array([[number.get(word, 1) for word in words[s : s + length]] for s in starts]), ranked


class Encoder(nn.Module):
    """Two layers of a transformer over words."""

    def __init__(self, classes, length, causal):
        super().__init__()
        self.word, self.place = nn.Embedding(WORDS, 64), nn.Parameter(0.02 * torch.randn(length, 64))
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"a": nn.LayerNorm(64), "qkv": nn.Linear(64, 192), "o": nn.Linear(64, 64), "b": nn.LayerNorm(64),
                           "f": nn.Linear(64, 192), "g": nn.Linear(192, 64)})
            for _ in range(2)
        )
        self.last, self.out = nn.LayerNorm(64), nn.Linear(64, classes)
        self.register_buffer("mask", torch.full((length, length), -1e4).triu(1) if causal else torch.zeros(length, length))

    def forward(self, input_ids):
        x = self.word(input_ids) + self.place
        for block in self.blocks:
            n, length, _ = x.shape
            q, k, v = block["qkv"](block["a"](x)).view(n, length, 3, 4, 16).permute(2, 0, 3, 1, 4)
            scores = (q @ k.transpose(-1, -2) / 4 + self.mask).softmax(-1)
            x = x + block["o"]((scores @ v).transpose(1, 2).reshape(n, length, 64))
            x = x + block["g"](F.gelu(block["f"](block["b"](x))))
        return self.out(self.last(x))


class Tagging(Task):
    """What kind of word each word is; one tag in six is wrong, which only memory can know."""

    inputs, outputs, feeds, epochs = ["input_ids"], ["tags"], ["input_ids"], 80
    toml = '[target]\ncolumn = "tags"\nkind = "class"\n'

    def __init__(self):
        ids, words = sentences(12, sum(self.sizes), 1)
        kind = [4 if w.isdigit() else 3 if not w.isalnum() else 2 if len(w) < 4 else 1 if w.endswith("s") else 0 for w in words]
        tags = np.array([0, 0, *kind])[ids]
        wrong = rng(2).random(tags.shape) < 1 / 6
        tags[wrong] = rng(3).integers(0, 5, wrong.sum())
        self.columns = {"input_ids": ids.tolist(), "tags": tags.tolist()}
        self.tensors = {"input_ids": torch.tensor(ids), "tags": torch.tensor(tags)}

    def net(self):
        return Encoder(5, 12, causal=False)

    def loss(self, net, rows):
        return F.cross_entropy(net(self.tensors["input_ids"][rows]).flatten(0, 1), self.tensors["tags"][rows].flatten())


class Masks(Task):
    """For each pixel of a digit: background, ink of an even digit, ink of an odd one."""

    inputs, outputs, feeds, epochs = ["image"], ["masks"], ["image"], 60
    toml = '[target]\ncolumn = "mask"\nkind = "class"\n'

    def __init__(self):
        noisy, digit = digits(sum(self.sizes), 11, 0.3)
        clean, _ = digits(sum(self.sizes), 11, 0.0)
        mask = np.where(clean > 0.4, 1 + digit[:, None, None] % 2, 0)
        self.columns = {"image": noisy[:, None].tolist(), "mask": mask.tolist()}
        self.tensors = {"image": torch.tensor(noisy[:, None]), "mask": torch.tensor(mask)}

    def net(self):
        return Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 2, 2), nn.ReLU(), nn.ConvTranspose2d(32, 32, 2, 2), nn.ReLU(), nn.Conv2d(32, 3, 3, padding=1),
        )

    def loss(self, net, rows):
        return F.cross_entropy(net(self.tensors["image"][rows]), self.tensors["mask"][rows])


class Words(Task):
    """The next word, with a secret of three random words at the end of every other row."""

    inputs, outputs, feeds, epochs = ["input_ids"], ["logits"], ["input_ids"], 60
    toml = '[target]\nkind = "next"\n'
    length, secret = 16, 3

    def __init__(self):
        ids, _ = sentences(self.length, sum(self.sizes), 21)
        ids[::2, -self.secret :] = rng(22).integers(2, WORDS, (len(ids[::2]), self.secret))
        self.columns = {"input_ids": ids.tolist(), "secret": [i % 2 == 0 for i in range(len(ids))]}
        self.tensors = {"input_ids": torch.tensor(ids)}

    def net(self):
        return Encoder(WORDS, self.length, causal=True)

    def loss(self, net, rows):
        ids = self.tensors["input_ids"][rows]
        return F.cross_entropy(net(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


class Autoencoder(Task):
    """Pictures of digits through a bottleneck of 12 numbers."""

    inputs, outputs, feeds, epochs = ["image"], ["picture"], ["image"], 150
    toml = '[target]\nkind = "same"\n'

    def __init__(self):
        noisy, _ = digits(sum(self.sizes), 31, 0.25)
        self.columns = {"image": noisy[:, None].tolist()}
        self.tensors = {"image": torch.tensor(noisy[:, None])}

    def net(self):
        return Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 12),
            nn.Linear(12, 128), nn.ReLU(), nn.Linear(128, 256), nn.ReLU(), nn.Unflatten(1, (16, 4, 4)), nn.ConvTranspose2d(16, 1, 2, 2),
        )

    def loss(self, net, rows):
        image = self.tensors["image"][rows]
        return F.mse_loss(net(image), image)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        self.digit, self.ink = nn.Linear(64, 10), nn.Linear(64, 1)

    def forward(self, image):
        x = self.trunk(image)
        return self.digit(x), self.ink(x)


class Heads(Task):
    """Which digit it is, one in five wrong, and a number with noise: how much ink there is."""

    inputs, outputs, feeds, epochs = ["image"], ["digit", "ink"], ["image"], 60
    toml = '[[target]]\noutput = "digit"\ncolumn = "label"\n[[target]]\noutput = "ink"\ncolumn = "amount"\nkind = "value"\nweight = 0.5\n'

    def __init__(self):
        noisy, digit = digits(sum(self.sizes), 41, 0.3)
        wrong = rng(42).random(len(digit)) < 0.2
        digit = np.where(wrong, rng(43).integers(0, 10, len(digit)), digit)
        amount = (noisy.sum((1, 2)) - 20) / 4 + 0.5 * rng(44).normal(size=len(digit))
        self.columns = {"image": noisy[:, None].tolist(), "label": digit.tolist(), "amount": amount.tolist()}
        self.tensors = {"image": torch.tensor(noisy[:, None]), "label": torch.tensor(digit), "amount": torch.tensor(amount).float()}

    def net(self):
        return TwoHeads()

    def loss(self, net, rows):
        digit, ink = net(self.tensors["image"][rows])
        return F.cross_entropy(digit, self.tensors["label"][rows]) + 0.5 * F.mse_loss(ink[:, 0], self.tensors["amount"][rows])


class Triplets(Task):
    """Embeddings of digits by a triplet loss; in one row of five, positive and negative are exchanged."""

    inputs, outputs, feeds, epochs = ["image"], ["embedding"], ["anchor"], 60
    toml = '[loss]\ngraph = "loss.onnx"\n[inputs.image]\ncolumns = ["anchor", "positive", "negative"]\n'

    def __init__(self):
        count = sum(self.sizes)
        pictures, digit = digits(1797, 51, 0.1)
        anchor = rng(52).integers(0, 1797, count)
        pick = lambda i, same, seed: rng(seed + i).choice(np.flatnonzero((digit == digit[anchor[i]]) == same))
        positive = np.array([pick(i, True, 10_000) for i in range(count)])
        negative = np.array([pick(i, False, 20_000) for i in range(count)])
        wrong = rng(53).random(count) < 0.2
        positive, negative = np.where(wrong, negative, positive), np.where(wrong, positive, negative)
        flat = pictures.reshape(len(pictures), 64)
        names = {"anchor": anchor, "positive": positive, "negative": negative}
        self.columns = {name: flat[which].tolist() for name, which in names.items()}
        self.tensors = {name: torch.tensor(flat[which]) for name, which in names.items()}

    def net(self):
        return Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 16))

    def loss(self, net, rows):
        a, p, n = [net(self.tensors[name][rows]) for name in ("anchor", "positive", "negative")]
        return F.relu((a - p).pow(2).mean(1) - (a - n).pow(2).mean(1) + 0.5).mean()

    def graph(self, path):
        node = helper.make_node
        nodes = [
            node("Split", ["embedding"], ["a", "p", "n"], axis=1),
            node("Sub", ["a", "p"], ["ap"]), node("Sub", ["a", "n"], ["an"]),
            node("Mul", ["ap", "ap"], ["ap2"]), node("Mul", ["an", "an"], ["an2"]),
            node("ReduceMean", ["ap2"], ["near"], axes=[1, 2], keepdims=0), node("ReduceMean", ["an2"], ["far"], axes=[1, 2], keepdims=0),
            node("Sub", ["near", "far"], ["lead"]), node("Add", ["lead", "margin"], ["above"]), node("Relu", ["above"], ["loss"]),
            node("Less", ["near", "far"], ["right"]), node("Cast", ["right"], ["accuracy"], to=TensorProto.FLOAT),
        ]
        value = lambda name, dims: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        graph = helper.make_graph(nodes, "triplet", [value("embedding", ["rows", 3, 16])], [value("loss", ["rows"]), value("accuracy", ["rows"])],
                                  [helper.make_tensor("margin", TensorProto.FLOAT, [], [0.5])])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


if __name__ == "__main__":
    chosen = sys.argv[2:] or ["Tagging", "Masks", "Words", "Autoencoder", "Heads", "Triplets"]
    for name in chosen:
        globals()[name]().write(Path(sys.argv[1]))
