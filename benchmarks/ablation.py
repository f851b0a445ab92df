"""What each choice of a preset is worth, at equal time: `python -m benchmarks.ablation PRESET`.

Prints a table of docs/ablation.md, from the prepared data, which have to be binarized as the preset
says. It takes an hour and a half for `stochastic-5` and 40 minutes for `levels`. Each row changes
the named parameters and trains for as long as EPOCHS of the preset take, by the times of both, side
by side, with the schedule over all of its epochs. Measured on the validation images, never on the
test images: the ELBO, and the importance-weighted bound with 100 draws. Several seeds are given as
their mean and range: five of the preset that says what difference is noise, three of what came
within 0.5 nats of it with one. Each row is a process of its own.

    python -m benchmarks.ablation PRESET CHANGES [EPOCHS [SEEDS]]

prints a single row.
"""

import subprocess
import sys
import time

from benchmarks.frontier import in_words
from benchmarks.ours import changed, new_run, preset
from pipeline.params import Params
from pipeline.stage import start
from vae.evaluation.bounds import evaluate, in_numbers
from vae.images import Images, load_images
from vae.numerics import generator
from vae.training.loop import fit, train_epoch
from vae.training.run import Run

EPOCHS = {"stochastic-5": 6, "levels": 4}
TURNS = 4
CHANGES = {  # of each preset, with the number of seeds
    "stochastic-5": {
        "": 5,
        "model.channels=8": 1,
        "model.channels=24": 1,
        "train.batch_size=64": 3,
        "train.batch_size=256": 1,
        "train.weight_decay=0": 3,
        "train.gradient=reparameterized": 1,
        "model.posterior=gaussian": 3,
        "model.prior=standard": 1,
        "model.latent_dim=20": 3,
        "train.importance_samples=3 train.gradient=dreg": 1,
        "model.network=mlp": 3,
        "train.precision=float32": 1,
    },
    "levels": {
        "": 1,
        "model.groups=[2,4] model.latent_dim=922": 1,
        "model.groups=[2,4] model.latent_dim=922 train.objective=free_groups": 1,
        "model.network=conv model.latent_dim=40 model.posterior=flow model.prior=mixture "
        "train.gradient=stl train.learning_rate=0.003 train.weight_decay=0.1": 1,
    },
}


def seconds(runs: list[Run], train: Images) -> list[float]:
    """The best time that each run takes for an epoch of 10,000 images. The runs take turns."""
    times: list[list[float]] = [[] for _ in runs]
    pixels = train.drawn(generator("cpu", 0, "pixels"))[:10_000]
    for _ in range(TURNS):
        for run, its in zip(runs, times, strict=True):
            began = time.perf_counter()
            train_epoch(run, pixels, generator("cpu", 0, "timing"), 1)
            its.append(time.perf_counter() - began)
    return [min(its) for its in times]


def row(name: str, changes: list[str], epochs: int, seeds: int) -> str:
    """A row of the table. `changes` are written as for `dvc exp run -S`; `epochs` give the time."""
    start("cpu", "train.device", "native")
    params = preset(name, changes)
    train = load_images("data/train.safetensors")
    if train.binarization.split()[0] != params.prepare.binarization:
        raise SystemExit(f"prepare the data first, binarized: {params.prepare.binarization}")
    base, its = seconds([new_run(preset(name), train), new_run(params, train)], train)
    epochs = round(epochs * base / its)
    results = []
    for seed in range(seeds):
        of_seed = {"epochs": epochs, "seed": params.train.seed + seed}
        results.append(trained(changed(params, train=of_seed), train))
    options = " ".join(f"`-S {change}`" for change in changes) or "the preset itself"
    cells = [options, str(seeds), str(epochs)]
    cells += [in_words(list(values)) for values in zip(*results, strict=True)]
    return f"| {' | '.join(cells)} |"


def trained(params: Params, train: Images) -> tuple[float, float, float]:
    """Training ELBO of the last epoch, validation ELBO and validation bound of a new run."""
    run = new_run(params, train)
    validation = load_images("data/validation.safetensors")
    list(fit(run, train, validation))
    stream = generator("cpu", 0, "evaluation")
    pixels = validation.drawn(generator("cpu", 0, "validation pixels"))
    result = evaluate(run.model, pixels, 10, 100, stream)
    numbers = in_numbers(result, result.bounds[-1])
    return run.rows[-1]["train_elbo"], numbers["elbo"], numbers["log_likelihood"]


def main(name: str) -> None:
    print("| changes | seeds | epochs | training ELBO | ELBO | log p(x) ≥ |")
    print("| --- " * 6 + "|", flush=True)
    for changes, seeds in CHANGES[name].items():
        command = [sys.executable, "-m", "benchmarks.ablation", name, changes]
        subprocess.run([*command, str(EPOCHS[name]), str(seeds)], check=True)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        epochs = int(sys.argv[3]) if len(sys.argv) > 3 else EPOCHS[sys.argv[1]]
        seeds = int(sys.argv[4]) if len(sys.argv) > 4 else 1
        print(row(sys.argv[1], sys.argv[2].split(), epochs, seeds))
    elif sys.argv[1:] and sys.argv[1] in CHANGES:
        main(sys.argv[1])
    else:
        raise SystemExit(f"name a preset: {', '.join(CHANGES)}")
