"""What a training step costs beside its matrix products and fused Adam alone, on MNIST.

`python -m benchmarks.floor` prints in seconds where a step of 32 images spends its time.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch.profiler import profile

from benchmarks.ours import changed, new_run
from pipeline.params import load_params
from pipeline.stage import start
from vae.images import load_images
from vae.numerics import generator
from vae.training.loop import train_epoch
from vae.training.run import Run


def products_and_adam(run: Run, batch_size: int) -> Callable[[], None]:
    """A function that does only the matrix products of one step and fused Adam. Its inputs have the
    right shapes and exist beforehand.
    """
    layers = [its for its in run.model.modules() if isinstance(its, torch.nn.Linear)]
    inputs = {
        layer: [torch.randn(batch_size, features) for features in layer.weight.shape[::-1]]
        for layer in layers
    }

    @torch.no_grad()
    def step() -> None:
        for layer, (x, _) in inputs.items():
            layer(x)
        for layer, (x, y) in reversed(inputs.items()):
            layer.weight.grad = y.t() @ x
            layer.bias.grad = y.sum(0)
            if layer is not layers[0]:
                y @ layer.weight
        run.optimizer.step(1e-3)

    return step


def step(batch_size: int, numerics: str) -> tuple[float, float]:
    """Milliseconds of a training step with the defaults, and of its matrix products with Adam.

    To be called once in a process.
    """
    start("cpu", "train.device", numerics)
    train = load_images("data/train.safetensors")
    run = new_run(changed(load_params(), train={"batch_size": batch_size}), train)
    steps = 6_400 // batch_size
    images = train.pixels[: steps * batch_size]
    stream = generator("cpu", 0, "noise")

    def epoch() -> None:
        train_epoch(run, images, stream, 1)

    products = products_and_adam(run, batch_size)

    def floor() -> None:
        for _ in range(steps):
            products()

    milliseconds = {epoch: [], floor: []}
    for _ in range(21):  # they take turns
        for function, times in milliseconds.items():
            began = time.perf_counter()
            function()
            times.append(1e3 * (time.perf_counter() - began) / steps)
    return statistics.median(milliseconds[epoch]), statistics.median(milliseconds[floor])


def main() -> None:
    start("cpu", "train.device")
    train, steps = load_images("data/train.safetensors"), 400
    run = new_run(load_params(), train)
    images, stream = train.pixels[: steps * 32], generator("cpu", 0, "noise")
    train_epoch(run, images, stream, 1)
    with profile() as profiled:
        train_epoch(run, images, stream, 2)
    print("| operation | calls a step | µs a step |\n| --- | --- | --- |")
    operations = sorted(profiled.key_averages(), key=lambda its: -its.self_cpu_time_total)
    for its in operations[:12]:
        print(f"| `{its.key}` | {its.count / steps:.1f} | {its.self_cpu_time_total / steps:.0f} |")
    others = operations[12:]
    calls, micros = sum(its.count for its in others), sum(i.self_cpu_time_total for i in others)
    print(f"| {len(others)} others | {calls / steps:.1f} | {micros / steps:.0f} |")


if __name__ == "__main__":
    main()
