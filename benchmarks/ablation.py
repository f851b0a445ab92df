"""What each choice of a preset is worth, at equal time: `python -m benchmarks.ablation PRESET`.

Prints a table of docs/ablation.md, from the prepared data, which have to be binarized as the preset
says. It takes an hour. Each row changes the named parameters and trains for as long as EPOCHS of
the preset take, by the times of both, side by side, with the schedule over all of its epochs. Words
without a value are changes that we left out of the project (benchmarks/tried.py). Measured on the
validation images, never on the test images: the ELBO, and the importance-weighted bound with 100
draws. Each row is a process of its own.

    python -m benchmarks.ablation PRESET CHANGES [EPOCHS]

prints a single row.
"""

import subprocess
import sys
import time

from benchmarks.ours import changed, preset
from benchmarks.tried import TRIED, TRIED_PRIORS
from vae.common.params import Params
from vae.common.runtime import generator, start
from vae.data.images import Images, load_images
from vae.evaluation.bounds import evaluate, in_numbers
from vae.model import PRIORS
from vae.training.loop import fit, train_epoch
from vae.training.run import Run

EPOCHS = {"strong": 10, "stochastic-5": 6}
TURNS = 4
CHANGES = {
    "strong": [
        "",
        "train.weight_decay=0",
        "model.prior=standard",
        "model.residual=false",
        "model.posterior=bounded",
        "model.hidden_dims=[500]",
        "model.hidden_dims=[300,300]",
        "model.hidden_dims=[1000,1000]",
        "model.latent_dim=20",
        "train.gradient=reparameterized",
        "train.importance_samples=5 train.gradient=dreg",
        "train.decoder_bias=log_odds",
        "train.schedule=constant",
        "train.precision=float32",
    ],
    "stochastic-5": [
        "",
        *(f"train.seed={seed}" for seed in range(1, 5)),
        "lr_warm_up",
        "model.channels=8",
        "model.channels=24",
        "train.batch_size=64",
        "train.batch_size=256",
        "model.prior=flow",
        "model.prior=levels",
        "kl_warm_up",
        "average",
        "shifts",
        "train.weight_decay=0",
        "train.gradient=reparameterized",
        "model.posterior=gaussian",
        "model.posterior=gaussian model.prior=vamp",
        "model.prior=standard",
        "model.latent_dim=20",
        "train.importance_samples=3 train.gradient=dreg",
        "model.network=mlp",
        "train.precision=float32",
    ],
}


def seconds(runs: list[Run], train: Images) -> list[float]:
    """The best time that each run takes for an epoch of 10,000 images. The runs take turns."""
    times: list[list[float]] = [[] for _ in runs]
    pixels = train.binary(generator("cpu", 0, "pixels"))[:10_000]
    for _ in range(TURNS):
        for run, its in zip(runs, times, strict=True):
            began = time.perf_counter()
            train_epoch(run, pixels, generator("cpu", 0, "timing"), 1)
            its.append(time.perf_counter() - began)
    return [min(its) for its in times]


def row(name: str, changes: str, epochs: int) -> str:
    """A row of the table. `changes` are written as for `dvc exp run -S`; `epochs` give the time."""
    start("cpu", "train.device", portable=False)
    PRIORS.update(TRIED_PRIORS)
    of_run = [TRIED[change] for change in changes.split() if "=" not in change]
    params = preset(name, [change for change in changes.split() if "=" in change])
    train = load_images("data/train.safetensors")
    if train.binarization.split()[0] != params.prepare.binarization:
        raise SystemExit(f"prepare the data first, binarized: {params.prepare.binarization}")
    validation = load_images("data/validation.safetensors")

    def new(params: Params) -> Run:
        run = Run.new(params, train)
        if params.model.prior == "vamp":
            run.model.prior.model.append(run.model)
        return run

    base, its = seconds([Run.new(preset(name), train), new(params)], train)
    epochs = round(epochs * base / its)

    run = new(changed(params, train={"epochs": epochs}))
    for change in of_run:
        train = change(run, train)
    list(fit(run, train, validation))
    stream = generator("cpu", 0, "evaluation")
    pixels = validation.binary(generator("cpu", 0, "validation pixels"))
    result = evaluate(run.model, pixels, 10, 100, stream)
    numbers = in_numbers(result, result.bounds[-1])
    last = run.rows[-1]["train_elbo"]
    options = " ".join(f"`-S {change}`" if "=" in change else change for change in changes.split())
    return (
        f"| {options or 'the preset itself'} | {epochs} | {last:.2f} "
        f"| {numbers['elbo']:.2f} | {numbers['log_likelihood']:.2f} |"
    )


def main(name: str) -> None:
    print("| changes | epochs | training ELBO | ELBO | log p(x) ≥ |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    for changes in CHANGES[name]:
        subprocess.run([sys.executable, "-m", "benchmarks.ablation", name, changes], check=True)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        epochs = int(sys.argv[3]) if len(sys.argv) > 3 else EPOCHS[sys.argv[1]]
        print(row(sys.argv[1], sys.argv[2], epochs))
    elif sys.argv[1:] and sys.argv[1] in CHANGES:
        main(sys.argv[1])
    else:
        raise SystemExit(f"name a preset: {', '.join(CHANGES)}")
