"""Triplet loss (Schroff et al., 2015), margin 0.5: max(0, |a − p|² − |a − n|² + margin).

A row is a group of three items: an anchor, a positive, a negative. The input has one axis more than the model's output `embedding`
[rows, dimensions], and its second extent says so: the model then runs on each item. Name one column for each item in the configuration:

    [inputs.x]
    columns = ["anchor", "positive", "negative"]
"""

from graph import Graph

g = Graph()
embedding = g.input("embedding", ["rows", 3, "dimensions"])
anchor, positive, negative = g.Split(embedding, outputs=3, axis=1, num_outputs=3)


def distance(a, b):
    d = g.Sub(a, b)
    return g.sum(g.Mul(d, d), [1, 2])


near, far = distance(anchor, positive), distance(anchor, negative)
g.output("loss", g.Relu(g.Add(g.Sub(near, far), 0.5)))
g.output("accuracy", g.float(g.Less(near, far)))
g.save(__file__)
