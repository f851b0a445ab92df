"""Nats a minute: the bound on log p(x) that each preset reaches, against its training time.

    python -m benchmarks.frontier PRESET SEED [--beside] [--set NAME=VALUE ...]

trains and measures a preset in a copy of this folder, uncommitted changes included, and writes
docs/frontier/PRESET-SEED.json: the two stages' seconds by the clock, start and validation included;
metrics/test.json; the bounds of plots/splits.csv. The machine should have nothing else to do. If it
has, `--beside` says so: the table and the picture take a preset's time from a run that was
alone, or, where there is none, mark it as an upper bound. `--set` changes more parameters, such as
`prepare.folder`.

    python -m benchmarks.frontier

draws docs/frontier.png and prints a table from these files, in seconds. It trains nothing.
"""

import argparse
import csv
import json
import os
import platform
import re
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from ruamel.yaml import YAML

from benchmarks.ours import copied, preset, settings, stage

FOLDER = Path("docs/frontier")
PUBLISHED = {  # stochastic pixels: nats, and where they stand
    "one layer, IWAE, k = 50 (Burda et al. 2016)": -84.78,
    "two layers, IWAE, k = 50 (Burda et al. 2016)": -82.90,
    "two layers, VampPrior (in Norouzi et al. 2020)": -81.6,
    "convolutional, weakest prior (in Norouzi et al. 2020)": -80.5,
    "convolutional, best prior (in Norouzi et al. 2020)": -79.6,
    "NVAE (Vahdat & Kautz 2020)": -78.0,
}


def run(name: str, seed: int, alone: bool, changes: list[str]) -> dict:
    """Trains and measures a preset in a temporary copy."""
    params = preset(name, [f"train.seed={seed}", *changes]).model_dump()
    parameters = [f"{key}={value}" for key, value in settings(name, changes).items()]
    with tempfile.TemporaryDirectory() as temporary:
        folder = copied(temporary)
        YAML(typ="safe").dump(params, folder / "params.yaml")
        stage("prepare", folder)
        training, evaluation = stage("train", folder), stage("evaluate", folder)
        splits = csv.DictReader((folder / "plots/splits.csv").read_text().splitlines())
        return {
            "preset": name,
            "seed": seed,
            "parameters": parameters,
            "processor": processor(params["train"]["device"]),
            "alone": alone,
            "training_seconds": round(training),
            "evaluation_seconds": round(evaluation),
            "test": json.loads((folder / "metrics/test.json").read_text()),
            "splits": {row["split"]: float(row["log_likelihood"]) for row in splits},
        }


def processor(device: str) -> str:
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")  # of Linux
    named = re.search(r"model name\s*: (.+)", info.read_text() if info.exists() else "")
    return f"{os.cpu_count()} x {named[1] if named else platform.processor()}"


def rows() -> dict[str, list[dict]]:
    """Each preset's results in the order of their seeds. Presets are sorted by pixels and time."""
    results = [json.loads(path.read_text()) for path in FOLDER.glob("*.json")]
    presets: dict[str, list[dict]] = {}
    for result in sorted(results, key=lambda result: result["seed"]):
        presets.setdefault(result["preset"], []).append(result)

    def order(its: list[dict]) -> tuple:
        return its[0]["test"]["binarization"], timed(its)["training_seconds"]

    return {its[0]["preset"]: its for its in sorted(presets.values(), key=order)}


def timed(its: list[dict]) -> dict:
    """The run of a preset that had the machine for itself; the first, if none had."""
    return next((result for result in its if result["alone"]), its[0])


def in_words(values: list[float]) -> str:
    """A value such as −81.12; of several seeds, their mean and range."""
    mean = sum(values) / len(values)
    text = f"{mean:.2f}"
    if len(values) > 1:
        text += f" ({min(values):.2f} to {max(values):.2f})"
    return text.replace("-", "−")


def table(results: dict[str, list[dict]]) -> str:
    lines = [
        "| preset | pixels | seeds | training | evaluation | draws | test ELBO | log p(x) ≥ | "
        "train, validation, test with ≤ 100 draws |",
        "| --- " * 9 + "|",
    ]
    for name, its in results.items():
        first, tests = its[0], [result["test"] for result in its]
        minutes = [
            f"{'' if timed(its)['alone'] else '≤ '}{timed(its)[key] / 60:.1f} min"
            for key in ("training_seconds", "evaluation_seconds")
        ]
        bound = in_words([test["log_likelihood"] for test in tests])
        cells = [
            f"`{name}`", first["test"]["binarization"], str(len(its)), *minutes,
            f"{first['test']['importance_samples']:,}", in_words([test["elbo"] for test in tests]),
            f"{bound} ± {first['test']['log_likelihood_stderr']:.2f}",
            ", ".join(f"{value:.2f}".replace("-", "−") for value in first["splits"].values()),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(results: dict[str, list[dict]]) -> None:
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    stochastic = [its for its in results.values() if its[0]["test"]["binarization"] == "stochastic"]
    for machine in dict.fromkeys(timed(its)["processor"] for its in stochastic):
        its_presets = [its for its in stochastic if timed(its)["processor"] == machine]
        minutes = [timed(its)["training_seconds"] / 60 for its in its_presets]
        bounds = [[result["test"]["log_likelihood"] for result in its] for its in its_presets]
        means = [sum(values) / len(values) for values in bounds]
        (line,) = axes.plot(minutes, means, label=machine)
        # The first line's names stand above it. Another's would cover that line, but for its best.
        for its, x, values, y in zip(its_presets, minutes, bounds, means, strict=True):
            axes.plot([x] * len(values), values, ".", color=line.get_color())
            axes.annotate(
                its[0]["preset"],
                (x, y),
                (-8, 4 if line is axes.lines[0] or its is its_presets[-1] else -14),
                textcoords="offset points",
                ha="right",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0},
                fontsize=8,
            )
    axes.legend(loc="lower right", fontsize=8)
    for name, value in PUBLISHED.items():
        axes.axhline(value, color="grey", linewidth=0.8, linestyle="--")
        axes.text(
            0.99, value, name, transform=axes.get_yaxis_transform(), va="bottom", ha="right",
            fontsize=8, color="grey",
        )  # fmt: skip
    axes.set(
        xscale="log", xlim=(0.1, 4000), xlabel="minutes of training",
        ylabel="log p(x) ≥, nats per test image",
        title="MNIST, stochastic pixels: importance-weighted bound of each preset and seed",
    )  # fmt: skip
    axes.set_xticks([1, 2, 5, 10, 30, 60, 120], ["1", "2", "5", "10", "30", "60", "120"])
    figure.savefig("docs/frontier.png", dpi=120, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frontier")
    parser.add_argument("preset", nargs="?", choices=sorted(os.listdir("presets")))
    parser.add_argument("seed", nargs="?", type=int, default=0)
    parser.add_argument("--beside", action="store_true", help="other work runs on the machine")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    if arguments.preset:
        path = FOLDER / f"{arguments.preset}-{arguments.seed}.json"
        result = run(arguments.preset, arguments.seed, not arguments.beside, arguments.set)
        path.write_text(json.dumps(result, indent=2) + "\n")
        print(path.read_text())
    else:
        results = rows()
        draw(results)
        print(table(results))


if __name__ == "__main__":
    main()
