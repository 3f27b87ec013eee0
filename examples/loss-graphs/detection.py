"""Detection with targets that were assigned to the anchors beforehand: the cross-entropy of each anchor's class, class 0 for background, and
the smooth L1 distance (Girshick, 2015) of the boxes of the others.

Takes the model's outputs `classes` [rows, anchors, classes] and `boxes` [rows, anchors, 4], and the columns `class` and `box`: lists of as
many classes, and of as many boxes.
"""

from graph import Graph

g = Graph()
classes = g.input("classes", ["rows", "anchors", "classes"])
boxes = g.input("boxes", ["rows", "anchors", 4])
wanted = g.input("class", ["rows", "anchors"], "int")
box = g.input("box", ["rows", "anchors", 4])
scores = g.Transpose(classes, perm=[0, 2, 1])
each = g.SoftmaxCrossEntropyLoss(scores, wanted, reduction="none")
off = g.Abs(g.Sub(boxes, box))
smooth = g.Where(g.Less(off, 1), g.Mul(g.Mul(off, off), 0.5), g.Sub(off, 0.5))
found = g.float(g.Greater(wanted, g.constant(0, "int64")))
number = g.Max(g.sum(found, [1]), 1)
of_boxes = g.Div(g.sum(g.Mul(g.sum(smooth, [2]), found), [1]), number)
g.output("loss", g.Add(g.mean(each, [1]), of_boxes))
g.output("box distance", of_boxes)
g.output("accuracy", g.mean(g.right(scores, wanted), [1]))
g.save(__file__)
