"""InfoNCE (van den Oord et al., 2018) with the row's own negatives, temperature 0.1: the cross-entropy of the positive among the positive
and three negatives, by cosine similarity with the anchor. A loss with the other rows of a batch as negatives is none of a row.

A row is a group of five items: an anchor, a positive, three negatives.

    [inputs.x]
    columns = ["anchor", "positive", "negative_1", "negative_2", "negative_3"]
"""

from graph import Graph

g = Graph()
embedding = g.input("embedding", ["rows", 5, "dimensions"])
length = g.Sqrt(g.Add(g.ReduceSumSquare(embedding, g.constant([2], "int64"), keepdims=1), 1e-12))
unit = g.Div(embedding, length)
anchor, others = g.Split(unit, g.constant([1, 4], "int64"), outputs=2, axis=1)
similarity = g.Div(g.sum(g.Mul(anchor, others), [2]), 0.1)
first, _ = g.Split(g.LogSoftmax(similarity, axis=1), g.constant([1, 3], "int64"), outputs=2, axis=1)
g.output("loss", g.Neg(g.sum(first, [1])))
best = g.ArgMax(similarity, axis=1, keepdims=0)
g.output("accuracy", g.float(g.Equal(best, g.constant(0, "int64"))))
g.save(__file__)
