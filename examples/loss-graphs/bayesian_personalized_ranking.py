"""Bayesian personalized ranking (Rendle et al., 2009): −ln σ(score of the item that was chosen − score of one that was not).

A row is a group of two items, each a user and an item; the model's output `score` is [rows].

    [inputs.user]
    columns = ["user", "user"]
    [inputs.item]
    columns = ["chosen", "other"]
"""

from graph import Graph

g = Graph()
score = g.input("score", ["rows", 2])
chosen, other = g.Split(score, outputs=2, axis=1, num_outputs=2)
lead = g.sum(g.Sub(chosen, other), [1])
g.output("loss", g.Softplus(g.Neg(lead)))
g.output("accuracy", g.float(g.Greater(lead, 0)))
g.save(__file__)
