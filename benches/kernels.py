"""PyTorch's side of kernels.rs: reads a case a line, answers with the least milliseconds, forward and backward."""

import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(int(sys.argv[1]))


def tensors(*shapes):
    return [(torch.rand(s) * 2 - 1).requires_grad_() for s in shapes]


def build(name, d):
    if name == "conv":
        n, c, h, w, m, k, stride, pad, groups = d
        xs = tensors((n, c, h, w), (m, c // groups, k, k))
        return xs, lambda x, w: F.conv2d(x, w, stride=stride, padding=pad, groups=groups)
    if name == "matmul":
        b, m, k, n = d
        return tensors((m, k), (k, n)) if b == 1 else tensors((b, m, k), (b, k, n)), torch.matmul
    if name == "attention":
        # As exported files have it.
        return tensors(d, d, d), lambda q, k, v: torch.softmax(q @ k.transpose(1, 2) * d[2] ** -0.5, 2) @ v
    if name == "lstm":
        length, rows, width, hidden = d
        layer = torch.nn.LSTM(width, hidden)
        return [*tensors((length, rows, width)), *layer.parameters()], lambda x, *_: layer(x)[0]
    if name in ("relu", "sigmoid", "tanh"):
        return tensors(d), getattr(torch, name)
    if name == "relu6":
        return tensors(d), F.relu6
    if name in ("gelu", "gelu_tanh"):
        return tensors(d), lambda x: F.gelu(x, approximate="tanh" if name == "gelu_tanh" else "none")
    if name == "cross_entropy":
        classes = torch.arange(d[0]) * 7919 % d[1]
        return tensors(d), lambda x: F.cross_entropy(x, classes, reduction="none")
    if name == "mse":
        return tensors(d, d), lambda x, y: F.mse_loss(x, y, reduction="none").mean(1)
    if name == "add":
        return tensors(d, d), torch.add
    if name == "bias":
        return tensors(d, d[1:]), torch.add
    if name == "batch_norm":
        mean, var = torch.ones(d[1]), torch.ones(d[1])
        return tensors(d, d[1:2], d[1:2]), lambda x, s, b: F.batch_norm(x, mean, var, s, b)
    if name == "layer_norm":
        return tensors(d, d[1:], d[1:]), lambda x, s, b: F.layer_norm(x, d[1:], s, b)
    if name == "softmax":
        return tensors(d), lambda x: F.softmax(x, 1)
    if name == "max_pool":
        return tensors(d), lambda x: F.max_pool2d(x, 2)
    if name == "sum":
        return tensors(d), lambda x: x.sum((0, 2))
    if name == "embedding":
        rows, width, n = d
        index = torch.arange(n) * 7919 % rows
        return tensors((rows, width)), lambda x: F.embedding(index, x)
    if name == "permute":
        return tensors(d), lambda x: x.permute(0, 2, 1, 3).contiguous()
    raise ValueError(name)


def work(name, d):
    if name == "adamw":
        (x,) = tensors(d)
        x.grad = torch.ones_like(x)
        return torch.optim.AdamW([x], lr=1e-5).step
    xs, f = build(name, d)

    def both():
        for x in xs:
            x.grad = None
        f(*xs).sum().backward()

    return both


for line in sys.stdin:
    name, *d = line.split()
    run = work(name, [int(v) for v in d])
    least, begin = float("inf"), time.perf_counter()
    while time.perf_counter() - begin < 0.5:
        start = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - start)
    print(least * 1e3, flush=True)
