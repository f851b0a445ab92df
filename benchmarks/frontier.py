"""Nats a minute: the bound on log p(x) that each preset reaches, against its training time.

    python -m benchmarks.frontier PRESET [SEED]

trains and measures a preset in a clone of the last commit, and writes
docs/frontier/PRESET-SEED.json: the two stages' seconds by the clock, start and validation included,
so that the machine must have nothing else to do; metrics/test.json; the bounds of plots/splits.csv.

    python -m benchmarks.frontier

draws docs/frontier.png and prints a table from these files. It trains nothing.
"""

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from ruamel.yaml import YAML

from benchmarks.against import stage
from benchmarks.ours import preset

FOLDER = Path("docs/frontier")
PUBLISHED = {  # stochastic pixels: nats, and where they stand
    "one layer, IWAE, k = 50 (Burda et al. 2016)": -84.78,
    "two layers, IWAE, k = 50 (Burda et al. 2016)": -82.90,
    "two layers, VampPrior (in Norouzi et al. 2020)": -81.6,
    "two layers, convolutional, from (in Norouzi et al. 2020)": -80.5,
    "two layers, convolutional, to (in Norouzi et al. 2020)": -79.6,
    "NVAE (Vahdat & Kautz 2020)": -78.0,
}


def run(name: str, seed: int) -> dict:
    """Trains and measures a preset in a clone, which is thrown away."""
    params = preset(name, [f"train.seed={seed}"]).model_dump()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "project")
        subprocess.run(["git", "clone", "--quiet", ".", str(folder)], check=True)
        YAML(typ="safe").dump(params, folder / "params.yaml")
        stage("prepare", folder)
        training, evaluation = stage("train", folder), stage("evaluate", folder)
        with open(folder / "plots/splits.csv", newline="") as file:
            splits = list(csv.DictReader(file))
        return {
            "preset": name,
            "seed": seed,
            "parameters": Path("presets", name).read_text().replace("-S ", "").splitlines(),
            "training_seconds": round(training),
            "evaluation_seconds": round(evaluation),
            "test": json.loads((folder / "metrics/test.json").read_text()),
            "splits": {row["split"]: float(row["log_likelihood"]) for row in splits},
        }


def rows() -> dict[str, list[dict]]:
    """The results of each preset, by seed; presets by pixels and by time."""
    results = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]
    results.sort(key=lambda its: (its["test"]["binarization"], its["training_seconds"]))
    return {
        name: sorted((its for its in results if its["preset"] == name), key=lambda its: its["seed"])
        for name in dict.fromkeys(its["preset"] for its in results)
    }


def in_words(values: list[float]) -> str:
    """−81.12, or the mean and the range of several seeds."""
    mean = sum(values) / len(values)
    text = f"{mean:.2f}"
    if len(values) > 1:
        text += f" ({min(values):.2f} to {max(values):.2f})"
    return text.replace("-", "−")


def table(results: dict[str, list[dict]]) -> str:
    lines = [
        "| preset | pixels | seeds | training | evaluation | draws | test ELBO | log p(x) ≥ | "
        "train, validation, test with 100 draws |",
        "| --- " * 9 + "|",
    ]
    for name, its in results.items():
        first, tests = its[0], [result["test"] for result in its]
        seconds = [
            f"{sum(result[key] for result in its) / len(its) / 60:.1f} min"
            for key in ("training_seconds", "evaluation_seconds")
        ]
        bound = in_words([test["log_likelihood"] for test in tests])
        cells = [
            f"`{name}`", first["test"]["binarization"], str(len(its)), *seconds,
            f"{first['test']['importance_samples']:,}", in_words([test["elbo"] for test in tests]),
            f"{bound} ± {first['test']['log_likelihood_stderr']:.2f}",
            ", ".join(f"{value:.2f}".replace("-", "−") for value in first["splits"].values()),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(results: dict[str, list[dict]]) -> None:
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    stochastic = [its for its in results.values() if its[0]["test"]["binarization"] == "stochastic"]
    minutes, bounds = [], []
    for its in stochastic:
        of_seeds = [(r["training_seconds"] / 60, r["test"]["log_likelihood"]) for r in its]
        axes.plot(*zip(*of_seeds, strict=True), "o", color="tab:blue")
        minutes.append(sum(time for time, _ in of_seeds) / len(its))
        bounds.append(sum(bound for _, bound in of_seeds) / len(its))
        axes.annotate(
            its[0]["preset"], (minutes[-1], bounds[-1]), (6, -12), textcoords="offset points"
        )
    axes.plot(minutes, bounds, color="tab:blue")
    for name, value in PUBLISHED.items():
        axes.axhline(value, color="grey", linewidth=0.8, linestyle="--")
        axes.text(
            0.01, value, name, transform=axes.get_yaxis_transform(), va="bottom",
            fontsize=8, color="grey",
        )  # fmt: skip
    axes.set(
        xscale="log", xlabel="minutes of training on two cores",
        ylabel="log p(x) ≥, nats per test image",
        title="MNIST, stochastic pixels: importance-weighted bound of each preset and seed",
    )  # fmt: skip
    axes.set_xticks([1, 2, 5, 10, 30, 60, 120], ["1", "2", "5", "10", "30", "60", "120"])
    figure.savefig("docs/frontier.png", dpi=120, metadata={"Software": None})


def main() -> None:
    if len(sys.argv) > 1:
        name, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
        path = FOLDER / f"{name}-{seed}.json"
        path.write_text(json.dumps(run(name, seed), indent=2) + "\n")
        print(path.read_text())
    else:
        results = rows()
        draw(results)
        print(table(results))


if __name__ == "__main__":
    main()
