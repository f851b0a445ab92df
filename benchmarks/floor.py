"""What a training step and a draw of the bound cost beside their matrix products alone."""

import resource
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.ours import changed
from stages.dataset import blocks, load_images
from stages.fitting import Run, train_epoch
from stages.measure import evaluate
from stages.mlp import FlatAdam, by_input
from stages.params import load_params
from stages.runtime import generator, start
from stages.vae import VAE


def alternate(first: Callable, second: Callable, rounds: int) -> tuple[float, float]:
    """Median seconds of each, taking turns."""
    seconds = ([], [])
    for _ in range(rounds):
        for function, times in zip((first, second), seconds, strict=True):
            began = time.perf_counter()
            function()
            times.append(time.perf_counter() - began)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def products_and_adam(model: VAE, optimizer: FlatAdam, batch_size: int) -> Callable[[], None]:
    """A function that does the matrix products of one step, on inputs of the right shapes that are
    there already, and fused Adam.
    """
    layers = [
        (layer, *(torch.randn(batch_size, features) for features in layer.weight.shape[::-1]))
        for mlp in (model.encoder, model.decoder)
        for layer in mlp.layers
    ]

    def step() -> None:
        for layer, x, _ in layers:
            torch.addmm(layer.bias, x, layer.transposed)
        for layer, x, y in reversed(layers):
            torch.mm(y.t(), x, out=layer.weight_grad)
            if layer is not model.encoder.layers[0]:
                by_input(y, layer.weight)
        optimizer.step(1e-3)

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

    products = products_and_adam(run.model, run.optimizer, batch_size)

    @torch.inference_mode()
    def floor() -> None:
        for _ in range(steps):
            products()

    ours, least = alternate(epoch, floor, rounds=21)
    return 1e3 * ours / steps, 1e3 * least / steps


@torch.no_grad()
def bound(draws: int) -> tuple[float, float, float]:
    """Milliseconds a draw of the importance-weighted bound on all test images (the one encoding
    that all draws share included), and of the decoder's matrix products for them; megabytes
    that the bound takes above model and data.
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
