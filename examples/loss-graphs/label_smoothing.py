"""Cross-entropy with label smoothing (Szegedy et al., 2016): the label's class gets 0.9, all classes share 0.1.

Takes the model's output `logits` [rows, classes] and the column `label`.
"""

from graph import Graph

g = Graph()
logits, label = g.input("logits", ["rows", "classes"]), g.input("label", ["rows"], "int")
smoothing = 0.1
log_p = g.LogSoftmax(logits, axis=1)
own = g.SoftmaxCrossEntropyLoss(logits, label, reduction="none")
all_classes = g.Neg(g.mean(log_p, [1]))
g.output("loss", g.Add(g.Mul(own, 1 - smoothing), g.Mul(all_classes, smoothing)))
g.output("accuracy", g.right(logits, label))
g.save(__file__)
