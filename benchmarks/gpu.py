"""Checks and measures a GPU: `python -m benchmarks.gpu`, in three minutes, without DVC and, if
MNIST is in the cache, without a network.

It compares a step with double precision on the processor, and the bits of two trainings and of one
that was killed; it measures steps and stages. It prints Markdown, and writes it to docs/gpu/, in a
file with the GPU's name. Where there is no Git, `python -m benchmarks.gpu COMMIT` names the commit.
"""

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from ruamel.yaml import YAML

from benchmarks.ours import changed, copied, new_run, preset, stage
from pipeline.begin import sha256
from pipeline.params import Params
from pipeline.stage import start
from report.git import git
from vae.images import Images, load_images
from vae.model.objectives import loss
from vae.training.loop import train_epoch
from vae.training.recorded import COMPILED_FROM, Recorded
from vae.training.steps import Plain

# Steps of a measured epoch. Native numerics come first: portable ones cannot be undone.
STEPS = {"stochastic-30": 20, "original": 60}
DEVICES = [f"{section}.device=cuda" for section in ("train", "evaluate", "sample")]


def error_against_double(params: Params, images: Images) -> float:
    """The relative error of a batch's gradient on the GPU."""
    gradients, noise = [], torch.randn(1, 32, params.model.latent_dim)
    for device, precision in ("cpu", torch.float64), ("cuda", torch.float32):
        model = new_run(params, images).model.to(device, precision)
        x = model.scaled(images.pixels[:32].to(device)).to(precision)
        progress = torch.zeros((), device=device)
        loss(model, x, noise.to(device, precision), progress)[0].backward()
        its = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        gradients.append(torch.cat(its).cpu().double())
    return ((gradients[1] - gradients[0]).norm() / gradients[0].norm()).item()


def step_times(params: Params, images: Images, steps: int) -> Iterator[tuple[str, float, float]]:
    """How a step is computed, its microseconds, and the most memory in MiB."""
    pixels = images.pixels[: steps * params.train.batch_size].cuda()
    on_gpu = Images(pixels, images.labels, *list(vars(images).values())[2:])
    kinds: dict[str, Callable[..., Plain]] = {
        "plainly": Plain,
        "recorded": partial(Recorded, steps=0),
        "compiled and recorded": partial(Recorded, steps=COMPILED_FROM),
    }
    for name, kind in kinds.items():
        torch.cuda.reset_peak_memory_stats()
        run = new_run(params, on_gpu)
        run.step = kind(run.model, run.optimizer, run.settings)
        times = []
        for epoch in range(1, 7):  # the first ones record
            torch.cuda.synchronize()
            began = time.perf_counter()
            train_epoch(run, pixels, torch.Generator("cuda").manual_seed(epoch), epoch)
            torch.cuda.synchronize()
            times.append((time.perf_counter() - began) / steps)
        yield name, 1e6 * statistics.median(times[2:]), torch.cuda.max_memory_allocated() / 2**20


def digest(folder: Path) -> str:
    return sha256(folder / "models/vae.safetensors")[:16]


def choose(folder: Path, name: str, *changes: str) -> None:
    params = preset(name, [*DEVICES, *changes]).model_dump()
    YAML(typ="safe").dump(params, folder / "params.yaml")


def killed_and_resumed(folder: Path) -> str:
    """The digest of a training that was killed after its first epoch."""
    command = [sys.executable, "-m", "stages.train"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout
        next(line for line in training.stdout if re.match("epoch +1/", line))
        training.kill()
    stage("train", folder)
    return digest(folder)


def table(*names: str) -> str:
    return f"| {' | '.join(names)} |\n{'| --- ' * len(names)}|"


def lines() -> Iterator[str]:
    yield f"# {torch.cuda.get_device_name()}\n"
    versions = f"torch {torch.__version__}, CUDA {torch.version.cuda}"
    commit = sys.argv[1] if len(sys.argv) > 1 else git("rev-parse", "--short", "HEAD")
    yield f"{versions}, commit {commit}, by `python -m benchmarks.gpu`.\n"
    with tempfile.TemporaryDirectory() as temporary:
        folder = copied(temporary)
        choose(folder, "original")
        stage("prepare", folder)
        images = load_images(folder / "data/train.safetensors")
        error = error_against_double(preset("original", DEVICES), images)
        yield f"A gradient's relative error beside double precision: {error:.1e}.\n"
        yield table("a step of", "images", "computed", "µs", "MiB")
        for name, steps in STEPS.items():
            params = changed(preset(name, DEVICES), train={"grids": 0})
            start("cuda", "train.device", params.train.numerics)
            for how, micros, memory in step_times(params, images, steps):
                size = params.train.batch_size
                yield f"| `{name}` | {size} | {how} | {micros:,.0f} | {memory:,.0f} |"

        choose(folder, "original", "train.epochs=3")
        digests = []
        for _ in range(2):
            stage("train", folder)
            digests.append(digest(folder))
        digests.append(killed_and_resumed(folder))
        yield f"\nThree epochs twice, and killed and resumed: {', '.join(digests)}.\n"
        yield table("stage", "seconds")
        seconds = {}
        choose(folder, "original")
        for name in "prepare", "train", "evaluate", "sample":
            seconds[f"`{name}`, defaults"] = stage(name, folder)
        seconds["these four stages"] = sum(seconds.values())
        choose(folder, "original", "evaluate.importance_samples=5000")
        seconds["`evaluate`, 5,000 draws"] = stage("evaluate", folder)
        choose(folder, "stochastic-30")
        stage("prepare", folder)
        for name in "train", "evaluate":
            seconds[f"`{name}`, `stochastic-30`"] = stage(name, folder)
        for name, its in seconds.items():
            yield f"| {name} | {its:.1f} |"
        test = json.loads((folder / "metrics/test.json").read_text())
        elbo, bound = test["elbo"], test["log_likelihood"]
        yield f"\n`stochastic-30`: test ELBO {elbo}, log p(x) ≥ {bound}, in nats."


def main() -> None:
    if not torch.cuda.is_available():
        sys.exit("error: there is no GPU here that torch can use.\nRun this on a machine with one")
    page = []
    for line in lines():
        print(line, flush=True)
        page.append(line)
    path = Path("docs/gpu", f"{torch.cuda.get_device_name().replace(' ', '-')}.md")
    path.write_text("\n".join(page) + "\n")


if __name__ == "__main__":
    main()
