"""What each choice of the preset `strong` is worth, at equal time: `python -m benchmarks.ablation`.

Writes docs/ablation.md. Each row changes the named parameters and trains for as long as EPOCHS of
the preset take, by the times of both, side by side, with the schedule over all of its epochs. One
seed; measured on the validation images, never on the test images: the ELBO, and the
importance-weighted bound with 100 draws. Each row is a process of its own.
"""

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.ours import changed, preset
from vae.common.runtime import generator, start
from vae.data.images import Images, load_images
from vae.evaluation.bounds import evaluate, in_numbers
from vae.training.loop import fit, train_epoch
from vae.training.run import Run

EPOCHS = 10
CHANGES = [
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
]


def seconds(runs: list[Run], train: Images) -> list[float]:
    """Of an epoch on 10,000 images: each run's best of ten, taking turns."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(10):
        for run, its in zip(runs, times, strict=True):
            began = time.perf_counter()
            train_epoch(run, train.pixels[:10_000], generator("cpu", 0, "timing"), 1)
            its.append(time.perf_counter() - began)
    return [min(its) for its in times]


def row(changes: str) -> str:
    """A row of the table: changes as `dvc exp run -S` takes them, on top of the preset."""
    start("cpu", "train.device", portable=False)
    params = preset("strong", changes.split())
    train = load_images("data/train.safetensors")
    validation = load_images("data/validation.safetensors")
    base, its = seconds([Run.new(preset("strong"), train), Run.new(params, train)], train)
    epochs = round(EPOCHS * base / its)

    run = Run.new(changed(params, train={"epochs": epochs}), train)
    list(fit(run, train, validation))
    stream = generator("cpu", 0, "evaluation")
    result = evaluate(run.model, validation.pixels, 10, 100, stream)
    numbers = in_numbers(result, result.bounds[-1])
    last = run.rows[-1]["train_elbo"]
    name = " ".join(f"-S {change}" for change in changes.split()) or "the preset itself"
    return (
        f"| `{name}` | {epochs} | {last:.2f} "
        f"| {numbers['elbo']:.2f} | {numbers['log_likelihood']:.2f} |"
    )


def main() -> None:
    lines = [
        f"Each row: the preset `strong` with the changes, trained for the time of {EPOCHS} of the",
        "preset's epochs, as `python -m benchmarks.ablation` prints it. Nats an image; ELBO and",
        "bound (100 draws) of the validation images; the training ELBO is the last epoch's, over",
        "its steps.",
        "",
        "| changes | epochs | training ELBO | ELBO | log p(x) ≥ |",
        "| --- | --- | --- | --- | --- |",
    ]
    for changes in CHANGES:
        command = [sys.executable, "-m", "benchmarks.ablation", changes]
        lines.append(subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout)
        print(lines[-1], end="", flush=True)
    Path("docs/ablation.md").write_text("\n".join(map(str.strip, lines)) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(row(sys.argv[1]))
    else:
        main()
