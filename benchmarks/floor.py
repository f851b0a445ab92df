"""What a training step and a draw of the bound cost beside their matrix products alone."""

import resource
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.ours import changed
from vae.common.params import load_params
from vae.common.runtime import generator, start
from vae.data.images import blocks, load_images
from vae.evaluation.bounds import evaluate
from vae.model.vae import VAE
from vae.training.loop import train_epoch
from vae.training.run import Run


def alternate(first: Callable, second: Callable, rounds: int) -> tuple[float, float]:
    """Median seconds of each function. They take turns."""
    seconds = ([], [])
    for _ in range(rounds):
        for function, times in zip((first, second), seconds, strict=True):
            began = time.perf_counter()
            function()
            times.append(time.perf_counter() - began)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def products_and_adam(run: Run, batch_size: int) -> Callable[[], None]:
    """A function that does only the matrix products of one step and fused Adam. Its inputs have the
    right shapes and exist beforehand.
    """
    first, *others = (
        module for module in run.model.modules() if isinstance(module, torch.nn.Linear)
    )
    inputs = {
        layer: [torch.randn(batch_size, features) for features in layer.weight.shape[::-1]]
        for layer in (first, *others)
    }

    @torch.no_grad()
    def step() -> None:
        for layer, (x, _) in inputs.items():
            layer(x)
        for layer, (x, y) in reversed(inputs.items()):
            layer.weight.grad = y.t() @ x
            layer.bias.grad = y.sum(0)
            if layer is not first:
                y @ layer.weight
        run.optimizer.step(1e-3)

    return step


def step(batch_size: int, portable: bool) -> tuple[float, float]:
    """Milliseconds of a training step, and of its matrix products with Adam."""
    start("cpu", "train.device", portable)
    train = load_images("data/train.safetensors")
    run = Run.new(changed(load_params(), train={"batch_size": batch_size}), train)
    steps = 6_400 // batch_size
    images = train.pixels[: steps * batch_size]
    stream = generator("cpu", 0, "noise")

    def epoch() -> None:
        train_epoch(run, images, stream, 1)

    products = products_and_adam(run, batch_size)

    def floor() -> None:
        for _ in range(steps):
            products()

    ours, least = alternate(epoch, floor, rounds=21)
    return 1e3 * ours / steps, 1e3 * least / steps


@torch.no_grad()
def bound(draws: int) -> tuple[float, float, float]:
    """What a draw of the importance-weighted bound on all test images costs: milliseconds with its
    share of the encoding, milliseconds of the decoder's matrix products alone, and the megabytes
    that the bound needs besides model and data.
    """
    start("cpu", "evaluate.device")
    pixels = load_images("data/test.safetensors").pixels
    model = VAE.load("models/vae.safetensors")
    linears = list(model.decoder)[::2]
    z = torch.randn(len(pixels), model.architecture.latent_dim)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def decode() -> None:
        for _ in range(draws):
            for x in blocks(z):
                for linear in linears:
                    x = linear(x)

    def ours() -> None:
        evaluate(model, pixels, 0, draws, torch.Generator().manual_seed(0))

    times = alternate(ours, decode, rounds=5)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1e3 * times[0] / draws, 1e3 * times[1] / draws, (after - before) / 1024
