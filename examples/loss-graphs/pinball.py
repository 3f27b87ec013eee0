"""Pinball loss of three quantiles (Koenker and Bassett, 1978): max(q·d, (q − 1)·d) of d = value − prediction, the mean over 0.1, 0.5, 0.9.

Takes the model's output `quantiles` [rows, 3] and the column `value`. The figure `covered` is the share of rows between 0.1 and 0.9.
"""

from graph import Graph

g = Graph()
quantiles, value = g.input("quantiles", ["rows", 3]), g.input("value", ["rows"])
wanted = g.Unsqueeze(value, g.constant([1], "int64"))
d = g.Sub(wanted, quantiles)
q = g.constant([[0.1, 0.5, 0.9]])
g.output("loss", g.mean(g.Max(g.Mul(d, q), g.Mul(d, g.Sub(q, 1))), [1]))
low, _, high = g.Split(quantiles, outputs=3, axis=1, num_outputs=3)
within = g.And(g.LessOrEqual(low, wanted), g.LessOrEqual(wanted, high))
g.output("covered", g.mean(g.float(within), [1]))
g.save(__file__)
