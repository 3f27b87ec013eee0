"""The experiments: python3 experiments/run.py NAME [--data FOLDER]

Trains a model with the program, and for each share of its training rows a second one without them; forgets the share by every method;
and puts the results beside each other. What is there already is not made again: a run that was interrupted goes on. Everything goes to
target/experiments/NAME; the summary to experiments/NAME/results.json, results.md and results.svg.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "benches"))
from common import built, environment, machine, note, variables  # noqa: E402

OURS = ["nabla-tau", "nabla-tau-paper"]
OTHERS = ["fine-tune", "neggrad", "neggrad+", "scrub", "scrub+r", "ssd", "amnesiac", "salun", "random-labels"]


@dataclass
class Experiment:
    model: str
    recipe: list  # of the training
    epochs: int
    data: bool = True  # whether --data is needed
    target: str = "class"
    forms: list = field(default_factory=lambda: ["kept"])
    whole_class: int | None = None


SGD = ["--optimizer", "sgd", "--momentum", "0.9", "--weight-decay", "5e-4", "--learning-rate", "0.1", "--batch-size", "128", "--schedule", "one-cycle"]
AUGMENT = ["--flip", "--crop", "4"]
ADAMW = ["--optimizer", "adamw", "--learning-rate", "1e-3", "--batch-size", "64", "--schedule", "one-cycle"]
EXPERIMENTS = {
    "cifar10": Experiment("resnet18", [*SGD, *AUGMENT], 24, forms=["kept", "folded"], whole_class=3),
    "cifar10-memorised": Experiment("resnet18", SGD, 12, forms=["kept", "folded"], whole_class=3),
    "cifar10-small": Experiment("resnet8", SGD, 12, forms=["kept", "folded"]),
    "sms": Experiment("texts", ADAMW, 12),
    "table": Experiment("table", ADAMW, 40, data=False, target="value"),
}


class Runner:
    def __init__(self, given):
        self.given, self.name, self.experiment = given, given.name, EXPERIMENTS[given.name]
        self.folder = ROOT / "target" / "experiments" / (given.name + (f"-{given.rows}" if given.rows else ""))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.program = given.program or built("--bin", "onnx-forget")["onnx-forget"]
        self.python = environment(given.python)
        self.env = variables(self.python, given.threads)
        self.seconds = self.folder / "seconds.json"

    def run(self, *command):
        command = list(map(str, command))
        note(" ".join(part.removeprefix(f"{self.folder}/") for part in command[1:]))
        subprocess.run(command, check=True, env=self.env, stdout=sys.stderr)

    def ours(self, what, *arguments):
        self.run(self.program, what, *arguments, "--config", self.folder / "config.toml", "--threads", self.given.threads, "--device", self.given.device)

    def train(self, out, *arguments):
        """A model, unless there is one, and the seconds that it took."""
        taken = json.loads(self.seconds.read_text()) if self.seconds.exists() else {}
        if out not in taken:
            recipe = [*self.experiment.recipe, "--epochs", self.given.epochs or self.experiment.epochs]
            start = time.time()
            self.ours("train", self.folder / "new.onnx", "--out", self.folder / out, "--force", *recipe, *arguments)
            taken[out] = time.time() - start
            self.seconds.write_text(json.dumps(taken, indent=1) + "\n")
        return taken[out]

    def compare(self, model, form, share, methods, seeds):
        """The figures of methods; of each by itself, so that a run can go on where it stopped."""
        found = {}
        for method in methods:
            out = self.folder / f"{share}-{form}-{method}-{seeds}"
            if not (out / "compare.json").exists():
                wanted = self.forgotten(share)
                retrained = ["--reference", self.folder / f"retrained-{share}.onnx"]
                self.ours("compare", model, *wanted, "--methods", method, "--seeds", seeds, "--out", out, *retrained)
            for entry in json.loads((out / "compare.json").read_text())["methods"]:
                found.setdefault(entry["method"], entry)
        return found

    def forgotten(self, share):
        if share == "class":
            return ["--forget-class", self.experiment.whole_class]
        return ["--forget", self.folder / f"forget-{share}.parquet"]

    def all(self):
        given, experiment = self.given, self.experiment
        if not (self.folder / "config.toml").exists():
            rows = [given.data or "-", self.folder, given.rows or 0, *map(str, given.shares)]
            self.run(self.python, HERE / "rows.py", self.name.split("-")[0], *rows)
        if not (self.folder / "new.onnx").exists():
            self.run(self.python, HERE / "models.py", "new", experiment.model, self.folder / "new.onnx")
        original = self.train("kept.onnx")
        if "folded" in experiment.forms and not (self.folder / "folded.onnx").exists():
            self.run(self.python, HERE / "models.py", "fold", experiment.model, self.folder / "kept.onnx", self.folder / "folded.onnx")
        shares = [s for s in given.shares if s != "class" or experiment.whole_class is not None]
        results = {"machine": machine(given.threads), "device": given.device, "rows": given.rows or "all", "epochs": given.epochs or experiment.epochs, "training_seconds": original, "shares": {}}
        for share in shares:
            seconds = self.train(f"retrained-{share}.onnx", *(x if x != "--forget" else "--exclude" for x in self.forgotten(share)))
            results["shares"][share] = entry = {"retraining_seconds": seconds, "forms": {}}
            for form in experiment.forms:
                model = self.folder / f"{form}.onnx"
                entry["forms"][form] = self.compare(model, form, share, OURS, given.seeds)
                if form == experiment.forms[0]:
                    entry["forms"][form] |= self.compare(model, form, share, given.others, 1)
            self.write(results)

    def write(self, results):
        folder = HERE / self.name
        folder.mkdir(exist_ok=True)
        (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        (folder / "results.md").write_text(markdown(results))
        self.run(self.python, HERE / "plot.py", folder / "results.json", folder / "results.svg")


COLUMNS = {
    "MIA (loss)": ("mia_loss", 3, 1),
    "MIA (entropy)": ("mia_entropy", 3, 1),
    "AUC": ("auc_loss", 3, 1),
    "KS": ("ks_loss", 3, 1),
    "under": ("under_forgotten", 1, 100),
    "over": ("over_forgotten", 1, 100),
    "test": ("test_accuracy", 1, 100),
    "forget": ("forget_accuracy", 1, 100),
    "retain": ("retain_accuracy", 1, 100),
    "forget loss": ("forget_loss", 3, 1),
    "test loss": ("test_loss", 3, 1),
}


def markdown(results):
    parts = [f"{results['machine']}, device {results['device']}, training rows: {results['rows']}, epochs: {results['epochs']}."]
    for share, entry in results["shares"].items():
        parts.append(f"## {share if share == 'class' else share + ' %'} forgotten")
        parts.append(f"Retraining took {entry['retraining_seconds']:.0f} s.")
        lines = ["| file | method | " + " | ".join(COLUMNS) + " | seconds |", "|" + " --- |" * (len(COLUMNS) + 3)]
        for form, methods in entry["forms"].items():
            for method, found in methods.items():
                cells = []
                for key, digits, factor in COLUMNS.values():
                    figure = found.get("figures", {}).get(key)
                    text = "–" if figure is None else f"{factor * figure['mean']:.{digits}f}"
                    if figure and len(figure["values"]) > 1:
                        text += f" ± {factor * figure['deviation']:.{digits}f}"
                    cells.append(text)
                seconds = found.get("seconds")
                cells.append(f"{seconds['mean']:.0f}" if seconds else "–")
                lines.append(f"| {form} | {method} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=EXPERIMENTS)
    parser.add_argument("--data", type=Path, help="folder of the Parquet files")
    parser.add_argument("--rows", type=int, help="so many training rows, in place of all")
    parser.add_argument("--epochs", type=int, help="epochs of training, in place of the recipe's")
    parser.add_argument("--shares", nargs="+", default=["3", "15", "30", "class"])
    parser.add_argument("--seeds", type=int, default=3, help="of ∇τ; the other methods run once")
    parser.add_argument("--others", nargs="*", default=OTHERS)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--program", help="the program, instead of building it")
    parser.add_argument("--python", help="a Python that has benches/requirements.txt, instead of a new environment")
    given = parser.parse_args()
    if EXPERIMENTS[given.name].data and not given.data:
        parser.error("--data is needed")
    Runner(given).all()


if __name__ == "__main__":
    main()
