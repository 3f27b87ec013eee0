"""Forgetting against utility: python plot.py RESULTS.json OUT.svg

A panel for each share: how well an attacker who sees the loss tells forgotten rows from unseen ones (0.5 is ideal), over test accuracy;
or, of a grid, over the weight of the forget term.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

plt.rcParams["svg.hashsalt"] = "experiments"


def methods_of(axis, entry):
    colors = {}
    for form, methods in entry["forms"].items():
        for method, found in methods.items():
            figures = found.get("figures", {})
            if "mia_loss" not in figures or figures["mia_loss"]["mean"] is None:
                continue
            if form != "kept" and method == "original":
                continue
            color = colors.setdefault(method, plt.get_cmap("tab20")(len(colors)))
            useful = "test_accuracy" if "test_accuracy" in figures else "test_r2"
            x, y = 100 * figures[useful]["mean"], figures["mia_loss"]["mean"]
            filled = {"facecolors": color if form == "kept" else "none"}
            axis.scatter([x], [y], s=60, edgecolors=color, label=method + ("" if form == "kept" else f" ({form})"), **filled)
            axis.set_xlabel("test accuracy, %" if useful == "test_accuracy" else "R² on test rows, %")


def weights_of(axis, entry):
    alphas = list(entry["alphas"])
    for method in entry["alphas"][alphas[0]]:
        if method == "original":
            continue
        values = [entry["alphas"][a][method]["figures"]["mia_loss"]["mean"] for a in alphas]
        axis.plot([float(a) for a in alphas], values, marker="o", label=method)
    axis.axvline(entry["rule"], color="grey", linewidth=1, linestyle=":", label="the rule's α")
    axis.set_xlabel("α at the start")


def main():
    results, out = map(Path, sys.argv[1:])
    shares = json.loads(results.read_text())["shares"]
    figure, axes = plt.subplots(1, len(shares), figsize=(5.2 * len(shares), 6.2), squeeze=False, sharey=True)
    for axis, (share, entry) in zip(axes[0], shares.items()):
        (methods_of if "forms" in entry else weights_of)(axis, entry)
        axis.axhline(0.5, color="grey", linewidth=1)
        axis.axhspan(0.48, 0.52, color="grey", alpha=0.15)
        axis.set_title("one class forgotten" if share == "class" else f"{share} % forgotten")
        axis.legend(fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    axes[0][0].set_ylabel("accuracy of the attack (loss)")
    figure.tight_layout()
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    main()
