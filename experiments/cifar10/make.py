"""ResNet-18 on CIFAR-10, overfitted without augmentation, as two ONNX files: BatchNormalization kept, and folded into Conv.

    pip install numpy==2.4.6 onnx==1.23.2 pillow==13.0.0 pyarrow==26.0.1 torch==2.15.0 torchvision==0.29.2
    python make.py DATA OUT [EPOCHS]

DATA holds train.parquet and test.parquet (id, image as a struct of bytes and path, label). OUT gets kept.onnx, folded.onnx,
validation.parquet and test.parquet (halves of the test rows), forget.parquet (15 % of the training ids), config.toml.
"""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torchvision
from PIL import Image

data, out = Path(sys.argv[1]), Path(sys.argv[2])
epochs = int(sys.argv[3]) if len(sys.argv) > 3 else 12
out.mkdir(parents=True, exist_ok=True)
torch.set_num_threads(os.cpu_count() or 1)
torch.manual_seed(0)
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]


def load(name):
    table = pq.read_table(data / f"{name}.parquet")
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(row["bytes"])).convert("RGB")) for row in table["image"].to_pylist()])
    return torch.from_numpy(pixels), torch.from_numpy(table["label"].to_numpy())


def prepared(pixels):
    x = (pixels.permute(0, 3, 1, 2).float() / 255 - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    return x.to(memory_format=torch.channels_last)


def accuracy(model, pixels, labels):
    model.eval()
    with torch.no_grad():
        right = sum((model(prepared(p)).argmax(1) == y).sum().item() for p, y in zip(pixels.split(1000), labels.split(1000)))
    return right / len(labels)


pixels, labels = load("train")
model = torchvision.models.resnet18(num_classes=10).to(memory_format=torch.channels_last)
batch, steps = 128, len(labels) // 128
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.15, total_steps=epochs * steps, pct_start=0.25)
for epoch in range(epochs):
    model.train()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(epoch))
    for rows in order[: steps * batch].split(batch):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(model(prepared(pixels[rows])).float(), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    print(f"epoch {epoch + 1}/{epochs}  loss {loss.item():.3f}", flush=True)
print("training rows", accuracy(model, pixels[:10000], labels[:10000]), "test rows", accuracy(model, *load("test")))

how = dict(input_names=["image"], output_names=["logits"], dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}}, opset_version=17, dynamo=False)
example = torch.randn(2, 3, 32, 32)
model.eval()
torch.onnx.export(model, example, out / "kept.onnx", training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False, **how)
torch.onnx.export(model, example, out / "folded.onnx", **how)

ids = pq.read_table(data / "train.parquet", columns=["id"])["id"].to_pylist()
chosen = np.random.default_rng(0).choice(len(ids), len(ids) * 15 // 100, replace=False)
pq.write_table(pa.table({"id": [ids[i] for i in chosen]}), out / "forget.parquet")
held_out = pq.read_table(data / "test.parquet")
order = np.random.default_rng(1).permutation(len(held_out))
pq.write_table(held_out.take(order[: len(order) // 2]), out / "validation.parquet")
pq.write_table(held_out.take(order[len(order) // 2 :]), out / "test.parquet")
(out / "config.toml").write_text(f"""[data]
train = "{(data / "train.parquet").resolve()}"
validation = "validation.parquet"
test = "test.parquet"
id = "id"

[inputs.image]
column = "image"
scale = 0.00392156862745098
mean = {MEAN}
std = {STD}
layout = "nchw"

[target]
column = "label"
""")
