"""The workloads' PyTorch modules, with torchvision imported only where it is needed: the peer's start is timed."""

import torch
from torch import nn

CLASSES = 10


def encoder(width, heads, depth):
    layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)


class Texts(nn.Module):
    def __init__(self, vocabulary, length, width, heads, depth):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)
        self.encoder, self.head = encoder(width, heads, depth), nn.Linear(width, CLASSES)

    def forward(self, x):
        return self.head(self.encoder(self.tokens(x) + self.positions).mean(1))


class Vit(nn.Module):
    def __init__(self, size, patch, width, heads, depth):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.first = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width) * 0.02)
        self.encoder, self.head = encoder(width, heads, depth), nn.Linear(width, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], 1) + self.positions
        return self.head(self.encoder(x)[:, 0])


class Sequences(nn.Module):
    def __init__(self, vocabulary, width, layers):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.lstm, self.head = nn.LSTM(width, width, layers, batch_first=True), nn.Linear(width, CLASSES)

    def forward(self, x):
        return self.head(self.lstm(self.tokens(x))[0][:, -1])


def resnet18():
    from torchvision import models

    model = models.resnet18(num_classes=CLASSES)
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return model


def vgg11_bn():
    from torchvision import models

    features = models.vgg11_bn().features
    return nn.Sequential(features, nn.Flatten(), nn.Linear(512, CLASSES))


def mlp(widths):
    layers = [part for a, b in zip(widths, widths[1:]) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def mobilenet_v2():
    from torchvision import models

    return models.mobilenet_v2(num_classes=CLASSES)


def texts():
    return Texts(8000, 64, 256, 4, 4)


def vit():
    return Vit(32, 4, 192, 3, 6)


def lstm():
    return Sequences(8000, 128, 2)
