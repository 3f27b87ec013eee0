"""Forgetting against utility: python plot.py RESULTS.json OUT.svg

A panel for each share: how well an attacker who sees the loss tells forgotten rows from unseen ones (0.5 is ideal), over test accuracy.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

plt.rcParams["svg.hashsalt"] = "experiments"


def main():
    results, out = map(Path, sys.argv[1:])
    shares = json.loads(results.read_text())["shares"]
    figure, axes = plt.subplots(1, len(shares), figsize=(5.2 * len(shares), 4.6), squeeze=False, sharey=True)
    for axis, (share, entry) in zip(axes[0], shares.items()):
        colours = {}
        for form, methods in entry["forms"].items():
            for method, found in methods.items():
                figures = found.get("figures", {})
                if "mia_loss" not in figures or figures["mia_loss"]["mean"] is None:
                    continue
                if form != "kept" and method == "original":
                    continue
                colour = colours.setdefault(method, f"C{len(colours) % 10}" if len(colours) < 10 else "black")
                x, y = 100 * figures["test_accuracy"]["mean"], figures["mia_loss"]["mean"]
                filled = {"facecolors": colour if form == "kept" else "none"}
                axis.scatter([x], [y], s=60, edgecolors=colour, label=method + ("" if form == "kept" else f" ({form})"), **filled)
        axis.axhline(0.5, color="grey", linewidth=1)
        axis.axhspan(0.48, 0.52, color="grey", alpha=0.15)
        axis.set_title("one class forgotten" if share == "class" else f"{share} % forgotten")
        axis.set_xlabel("test accuracy, %")
        axis.legend(fontsize=7)
    axes[0][0].set_ylabel("accuracy of the attack (loss)")
    figure.tight_layout()
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    main()
