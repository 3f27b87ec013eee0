"""Untrained models of the experiments as ONNX files, and a trained file with BatchNormalization folded into its convolutions.

    python models.py new NAME FILE
    python models.py fold NAME TRAINED FILE
"""

import sys
import warnings

import onnx
import torch
from onnx import numpy_helper
from torch import nn


class Block(nn.Module):
    """A residual block of ResNet (arXiv 1512.03385)."""

    def __init__(self, before, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.shortcut = nn.Conv2d(before, width, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


def resnet8():
    stem = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    blocks = [Block(32, 32, 1), Block(32, 64, 2), Block(64, 128, 2)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


def resnet18():
    from torchvision import models

    return models.resnet18(num_classes=10)


class Texts(nn.Module):
    """Two layers of a transformer; the mean of the tokens that are not padding."""

    def __init__(self, vocabulary=4000, length=64, width=64):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        here = (x != 0).float().unsqueeze(-1)
        y = self.encoder(self.tokens(x) + self.positions) * here
        return self.head(y.sum(1) / here.sum(1).clamp(min=1))


def table():
    return nn.Sequential(nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1))


IMAGE, TOKENS = torch.randn(2, 3, 32, 32), torch.randint(1, 4000, (2, 64))
MODELS = {"resnet18": (resnet18, IMAGE), "resnet8": (resnet8, IMAGE), "texts": (Texts, TOKENS), "table": (table, torch.randn(2, 32))}


def export(model, example, path, **how):
    torch.backends.mha.set_fastpath_enabled(False)
    axes = {"x": {0: "batch"}, "scores": {0: "batch"}}
    names = {"input_names": ["x"], "output_names": ["scores"], "dynamic_axes": axes, "opset_version": 17, "dynamo": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model.eval(), (example,), path, **names, **how)


def main():
    what, name, *paths = sys.argv[1:]
    build, example = MODELS[name]
    torch.manual_seed(0)
    model = build()
    if what == "fold":
        trained = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in onnx.load(paths[0]).graph.initializer}
        counts = {key: value for key, value in model.state_dict().items() if key.endswith("num_batches_tracked")}
        model.load_state_dict(counts | {key: trained[key] for key in model.state_dict() if key not in counts})
        export(model, example, paths[1])
        return
    with torch.no_grad():
        # No two tensors stay equal: the exporter would make them one.
        for parameter in model.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
        for key, buffer in model.named_buffers():
            if buffer.is_floating_point():
                buffer += 0.01 * torch.rand_like(buffer)
    export(model, example, paths[0], training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)


if __name__ == "__main__":
    main()
