"""Focal loss (Lin et al., 2017), γ = 2: −(1 − p)² ln p of the label's class.

Takes the model's output `logits` [rows, classes] and the column `label`.
"""

from graph import Graph

g = Graph()
logits, label = g.input("logits", ["rows", "classes"]), g.input("label", ["rows"], "int")
own = g.SoftmaxCrossEntropyLoss(logits, label, reduction="none")
miss = g.Sub(1, g.Exp(g.Neg(own)))
g.output("loss", g.Mul(g.Mul(miss, miss), own))
g.output("accuracy", g.right(logits, label))
g.save(__file__)
