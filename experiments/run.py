"""The experiments: python3 experiments/run.py NAME [--data FOLDER]

Trains a model with the program, and for each share of its training rows a second one without them; forgets the share by every method;
and puts the results beside each other. What is there already is not made again: a run that was interrupted goes on. Everything goes to
target/experiments/NAME; the summary to experiments/NAME (of fewer rows: NAME-ROWS): results.json, results.md and results.svg (with --alphas: alpha.json, ...).
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
from common import built, environment, machine, note, rows, variables  # noqa: E402

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
    "cifar10-memorized": Experiment("resnet18", SGD, 12, forms=["kept", "folded"], whole_class=3),
    "cifar10-small": Experiment("resnet8", SGD, 12, forms=["kept", "folded"], whole_class=3),
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
        self.shares = [s for s in given.shares if s != "class" or (self.experiment.whole_class is not None and not given.alphas)]

    def run(self, *command):
        command = list(map(str, command))
        note(" ".join(part.removeprefix(f"{self.folder}/") for part in command[1:]))
        subprocess.run(command, check=True, env=self.env, stdout=sys.stderr)

    def ours(self, what, *arguments, config="config.toml"):
        self.run(self.program, what, *arguments, "--config", self.folder / config, "--threads", self.given.threads, "--device", self.given.device)

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

    def compare(self, form, share, methods, seeds, alpha=None):
        """The figures of methods; of each by itself, so that a run can go on where it stopped. With an α that is not the rule's, no
        retrained model stands beside them."""
        found, beside, config = {}, ["--reference", self.folder / f"retrained-{share}.onnx"], "config.toml"
        if alpha is not None:
            beside, config = [], f"config-{alpha}.toml"
            (self.folder / config).write_text((self.folder / "config.toml").read_text() + f"\n[unlearn]\nalpha = {alpha}\n")
        for method in methods:
            out = self.folder / ("-".join([share, form, method, str(seeds)]) + ("" if alpha is None else f"-alpha-{alpha}"))
            if not (out / "compare.json").exists():
                wanted = [*self.forgotten(share), "--methods", method, "--seeds", seeds, "--out", out, *beside]
                self.ours("compare", self.folder / f"{form}.onnx", *wanted, config=config)
            for entry in json.loads((out / "compare.json").read_text())["methods"]:
                found.setdefault(entry["method"], entry)
        return found

    def forgotten(self, share):
        if share == "class":
            return ["--forget-class", self.experiment.whole_class]
        return ["--forget", self.folder / f"forget-{share}.parquet"]

    def prepare(self):
        """Rows and models; the seconds that training the original took."""
        given, experiment = self.given, self.experiment
        made = ["config.toml", *(f"forget-{share}.parquet" for share in self.shares)]
        if not all((self.folder / name).exists() for name in made):
            shares = [f"class={experiment.whole_class}" if share == "class" else share for share in self.shares]
            wanted = [given.data or "-", self.folder, given.rows or 0, *shares]
            self.run(self.python, HERE / "rows.py", self.name.split("-")[0], *wanted)
        if not (self.folder / "new.onnx").exists():
            self.run(self.python, HERE / "models.py", "new", experiment.model, self.folder / "new.onnx")
        seconds = self.train("kept.onnx")
        if "folded" in experiment.forms and not (self.folder / "folded.onnx").exists():
            self.run(self.python, HERE / "models.py", "fold", experiment.model, self.folder / "kept.onnx", self.folder / "folded.onnx")
        return seconds

    def all(self):
        given, experiment = self.given, self.experiment
        original = self.prepare()
        results = self.about() | {"training_seconds": original, "shares": {}}
        for share in self.shares:
            seconds = self.train(f"retrained-{share}.onnx", "--exclude", self.folder / f"forget-{share}.parquet")
            results["shares"][share] = entry = {"retraining_seconds": seconds, "forms": {}}
            for form in experiment.forms:
                entry["forms"][form] = self.compare(form, share, OURS[:1], given.seeds) | self.compare(form, share, OURS[1:], given.published_seeds or given.seeds)
                if form == experiment.forms[0] and share in (given.others_at or given.shares):
                    entry["forms"][form] |= self.compare(form, share, given.others, 1)
            self.write(given.results, results, markdown(results))

    def grid(self):
        """∇τ with each weight of the forget term, for each share, in place of the rule's."""
        given = self.given
        self.prepare()
        results = self.about() | {"alphas": given.alphas, "shares": {}}
        for share in self.shares:
            found = {alpha: self.compare(self.experiment.forms[0], share, OURS, given.seeds, alpha) for alpha in given.alphas}
            results["shares"][share] = {"rule": min(5 / 3 * int(share) / 100, 0.5), "alphas": found}
            self.write("alpha", results, grid_markdown(results))

    def about(self):
        given = self.given
        return {"machine": given.machine or machine(given.threads), "device": given.device, "rows": given.rows or "all", "epochs": given.epochs or self.experiment.epochs}

    def write(self, name, results, text):
        folder = HERE / self.folder.name
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
        (folder / f"{name}.md").write_text(text)
        self.run(self.python, HERE / "plot.py", folder / f"{name}.json", folder / f"{name}.svg")


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
    "test R²": ("test_r2", 3, 1),
    "forget R²": ("forget_r2", 3, 1),
    "retain R²": ("retain_r2", 3, 1),
    "forget loss": ("forget_loss", 3, 1),
    "test loss": ("test_loss", 3, 1),
}


def cell(found, key, digits, factor):
    """A figure's mean, with its deviation if there are several seeds."""
    figure = found.get("figures", {}).get(key)
    if figure is None:
        return "–"
    text = f"{factor * figure['mean']:.{digits}f}"
    return text + (f" ± {factor * figure['deviation']:.{digits}f}" if len(figure["values"]) > 1 else "")


def heading(results):
    return f"{results['machine']}, device {results['device']}, training rows: {results['rows']}, epochs: {results['epochs']}."


def markdown(results):
    parts = [heading(results), f"Training took {results['training_seconds']:.0f} s."]
    for share, entry in results["shares"].items():
        parts.append("## One class forgotten" if share == "class" else f"## {share} % forgotten")
        parts.append(f"Retraining took {entry['retraining_seconds']:.0f} s.")
        all_of = [found for methods in entry["forms"].values() for found in methods.values()]
        shown = {title: column for title, column in COLUMNS.items() if any(column[0] in found.get("figures", {}) for found in all_of)}
        lines = []
        for form, methods in entry["forms"].items():
            for method, found in methods.items():
                seconds = found.get("seconds")
                cells = [cell(found, *column) for column in shown.values()]
                lines.append([form, method, *cells, f"{seconds['mean']:.0f}" if seconds else "–"])
        parts.append(rows(["file", "method", *shown, "seconds"], lines))
    return "\n\n".join(parts) + "\n"


def grid_markdown(results):
    figures_of = [f["figures"] for entry in results["shares"].values() for methods in entry["alphas"].values() for f in methods.values()]
    useful = "test" if any("test_accuracy" in figures for figures in figures_of) else "test R²"
    what = "accuracy on test rows, %" if useful == "test" else "R² on test rows"
    parts = [heading(results), f"Accuracy of the attack on the loss / {what}."]
    for method in OURS:
        lines = []
        for share, entry in results["shares"].items():
            figures = [found[method] for found in entry["alphas"].values()]
            cells = [" / ".join(cell(f, *COLUMNS[c]) for c in ("MIA (loss)", useful)) for f in figures]
            lines.append([f"{share} %", f"{entry['rule']:.2f}", *cells])
        parts += [f"## {method}", rows(["forgotten", "α by the rule", *(f"α = {a}" for a in results["alphas"])], lines)]
    return "\n\n".join(parts) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=EXPERIMENTS)
    parser.add_argument("--data", type=Path, help="folder of the Parquet files")
    parser.add_argument("--rows", type=int, help="so many training rows, in place of all")
    parser.add_argument("--epochs", type=int, help="epochs of training, in place of the recipe's")
    parser.add_argument("--shares", nargs="+", default=["3", "15", "30", "class"])
    parser.add_argument("--seeds", type=int, default=3, help="of ∇τ; the other methods run once")
    parser.add_argument("--published-seeds", type=int, help="of ∇τ as published, if fewer")
    parser.add_argument("--alphas", nargs="+", help="only ∇τ, with each of these weights of the forget term at the start")
    parser.add_argument("--others", nargs="*", default=OTHERS)
    parser.add_argument("--others-at", nargs="+", help="the shares at which the other methods run, if not at all of them")
    parser.add_argument("--results", default="results", help="name of the files with the figures")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--machine", help="what the results call the machine, if all was made on another")
    parser.add_argument("--program", help="the program, instead of building it")
    parser.add_argument("--python", help="a Python that has benches/requirements.txt, instead of a new environment")
    given = parser.parse_args()
    if EXPERIMENTS[given.name].data and not given.data:
        parser.error("--data is needed")
    runner = Runner(given)
    runner.grid() if given.alphas else runner.all()


if __name__ == "__main__":
    main()
