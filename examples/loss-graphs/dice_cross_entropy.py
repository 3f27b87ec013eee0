"""Dice loss (Milletari et al., 2016) plus cross-entropy, for masks of three classes; both are of a row alone.

Takes the model's output `masks` [rows, 3, height, width] and the column `mask`, lists of as many classes, row by row.
"""

from graph import Graph

g = Graph()
classes = 3
masks = g.input("masks", ["rows", classes, "height", "width"])
mask = g.input("mask", ["rows", "height", "width"], "int")
each = g.SoftmaxCrossEntropyLoss(masks, mask, reduction="none")
p = g.Softmax(masks, axis=1)
hot = g.OneHot(mask, g.constant(classes, "int64"), g.constant([0, 1]), axis=1)
both = g.sum(g.Mul(p, hot), [2, 3])
total = g.Add(g.sum(p, [2, 3]), g.sum(hot, [2, 3]))
dice = g.Div(g.Add(g.Mul(both, 2), 1), g.Add(total, 1))
g.output("loss", g.Add(g.mean(each, [1, 2]), g.Sub(1, g.mean(dice, [1]))))
g.output("dice", g.mean(dice, [1]))
g.output("accuracy", g.mean(g.right(masks, mask), [1, 2]))
g.save(__file__)
