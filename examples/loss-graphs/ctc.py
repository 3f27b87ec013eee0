"""Connectionist temporal classification (Graves et al., 2006) over 8 frames and labels of 3 symbols, written out: class 0 is the blank.

Takes the model's output `frames` [rows, 8, classes] and the column `symbols`, lists of 3 classes. Change `FRAMES` and `SYMBOLS` to those of
your model; the graph has a few nodes for each frame.
"""

from graph import Graph

FRAMES, SYMBOLS = 8, 3
NEVER = -1e4

g = Graph()
frames = g.input("frames", ["rows", FRAMES, "classes"])
symbols = g.input("symbols", ["rows", SYMBOLS], "int")
log_p = g.LogSoftmax(frames, axis=2)
# The path: blank, first symbol, blank, …, blank.
single = g.Split(symbols, outputs=SYMBOLS, axis=1, num_outputs=SYMBOLS)
blank = g.Mul(single[0], g.constant(0, "int64"))
path = g.Concat(*[part for symbol in single for part in (blank, symbol)], blank, axis=1)
states = 2 * SYMBOLS + 1
steps = g.Split(log_p, outputs=FRAMES, axis=1, num_outputs=FRAMES)
emitted = [g.GatherElements(g.Squeeze(step, g.constant([1], "int64")), path, axis=1) for step in steps]
# From two states before, only into a symbol that differs from the last one.
before = g.Concat(blank, blank, g.Slice(path, *[g.constant([i], "int64") for i in (0, states - 2, 1)]), axis=1)
same = g.Or(g.Equal(path, before), g.Equal(path, g.constant(0, "int64")))
barred = g.Mul(g.float(same), NEVER)


def moved(alpha, by):
    pads = g.constant([0, by, 0, 0], "int64")
    kept = g.Slice(alpha, *[g.constant([i], "int64") for i in (0, states - by, 1)])
    return g.Pad(kept, pads, g.constant(NEVER))


def log_sum(values):
    stacked = g.Concat(*[g.Unsqueeze(v, g.constant([2], "int64")) for v in values], axis=2)
    return g.ReduceLogSumExp(stacked, g.constant([2], "int64"), keepdims=0)


start = g.constant([[0.0, 0.0] + [NEVER] * (states - 2)])
alpha = g.Add(emitted[0], start)
for frame in emitted[1:]:
    alpha = g.Add(log_sum([alpha, moved(alpha, 1), g.Add(moved(alpha, 2), barred)]), frame)
end = g.Slice(alpha, *[g.constant([i], "int64") for i in (states - 2, states, 1)])
g.output("loss", g.Neg(g.ReduceLogSumExp(end, g.constant([1], "int64"), keepdims=0)))
g.save(__file__)
