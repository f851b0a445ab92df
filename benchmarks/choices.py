"""What single choices buy: `python -m benchmarks.choices` (a quarter of an hour).

Prints the milliseconds of a training step without each choice and with it. The memory allocator and
the numerics are set for a whole process, so those rows compare two processes, which take turns. The
other rows take turns in one process.
"""

import statistics
import subprocess
import sys
import unittest.mock

import torch

from benchmarks.floor import alternate
from benchmarks.ours import changed
from vae.common import runtime
from vae.common.params import load_params
from vae.data.images import load_images
from vae.training.loop import train_epoch
from vae.training.optimizer import AdamW
from vae.training.run import Run

IMAGES = 6_400


class TorchsAdamW:
    """torch.optim.AdamW instead of the project's optimizer."""

    def __init__(self, run: Run):
        self.inner = torch.optim.AdamW(run.model.parameters(), weight_decay=0.0, fused=True)
        self.zero_grad = self.inner.zero_grad

    def step(self, learning_rate: float) -> None:
        self.inner.param_groups[0]["lr"] = learning_rate
        self.inner.step()


def by_hand(x: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The Bernoulli term without torch's logsigmoid."""
    magnitude = logits.abs()
    log_factor = ((-magnitude).expm1() + 1).log1p()
    return ((x - 0.5) * logits - 0.5 * magnitude - log_factor).sum(-1)


def epoch_of(batch_size: int, network: str = "mlp"):
    train = load_images("data/train.safetensors")
    params = changed(load_params(), train={"batch_size": batch_size}, model={"network": network})
    run = Run.new(params, train)
    stream = runtime.generator("cpu", 0, "noise")
    return run, lambda: train_epoch(run, train.pixels[:IMAGES], stream, 1)


def optimizers(batch_size: int) -> tuple[float, float]:
    runtime.start("cpu", "train.device")
    (theirs, first), (_, second) = epoch_of(batch_size), epoch_of(batch_size)
    theirs.optimizer = TorchsAdamW(theirs)
    return alternate(first, second, rounds=21)


def bernoulli_terms(batch_size: int) -> tuple[float, float]:
    runtime.start("cpu", "train.device")
    (_, first), (_, second) = epoch_of(batch_size), epoch_of(batch_size)

    def without() -> None:
        with unittest.mock.patch("vae.model.objectives.bernoulli", by_hand):
            first()

    return alternate(without, second, rounds=21)


def layouts(batch_size: int) -> tuple[float, float]:
    runtime.start("cpu", "train.device", portable=False)
    (run, first), (_, second) = epoch_of(batch_size, "conv"), epoch_of(batch_size, "conv")
    run.model.to(memory_format=torch.contiguous_format)
    run.optimizer = AdamW(run.model, 0)
    return alternate(first, second, rounds=7)


def numerics(batch_size: int, network: str, how: str) -> float:
    """how: native, or portable in the order of AVX2 or SSE2."""
    runtime.start("cpu", "train.device", how != "native")
    _, epoch = epoch_of(batch_size, network)
    if how != "native":
        runtime.make_products_portable(how == "AVX2")
    return alternate(epoch, lambda: None, rounds=3 if network == "conv" else 11)[0]


def allocator(batch_size: int, keeps: bool) -> float:
    if not keeps:
        runtime.keep_freed_memory = lambda: None
    runtime.start("cpu", "train.device")
    _, epoch = epoch_of(batch_size)
    return alternate(epoch, lambda: None, rounds=11)[0]


def in_a_process(expression: str) -> list[float]:
    code = f"from benchmarks.choices import *; print({expression})"
    done = subprocess.run([sys.executable, "-c", code], check=True, text=True, stdout=-1)
    return [float(word) for word in done.stdout.strip("()\n").split(", ")]


def report(what: str, batch_size: int, without: float, having: float) -> None:
    scale = 1e3 * batch_size / IMAGES
    print(f"{what:25} batch {batch_size:4}   without {scale * without:6.2f} ms   "
          f"with {scale * having:6.2f} ms   {without / having:.2f}", flush=True)  # fmt: skip


def main() -> None:
    for batch_size in 32, 320:
        pairs = [in_a_process(f"optimizers({batch_size})") for _ in range(3)]
        report(
            "AdamW's kernel alone", batch_size, *map(statistics.median, zip(*pairs, strict=True))
        )
    for batch_size in 32, 128:
        pairs = [in_a_process(f"bernoulli_terms({batch_size})") for _ in range(3)]
        report("logsigmoid", batch_size, *map(statistics.median, zip(*pairs, strict=True)))
    pairs = [in_a_process("layouts(128)") for _ in range(3)]
    report("conv, channels together", 128, *map(statistics.median, zip(*pairs, strict=True)))
    for what, batch_size, network, slow, fast in [
        ("AVX2's order, not SSE2's", 32, "mlp", "SSE2", "AVX2"),
        ("AVX2's order, not SSE2's", 128, "mlp", "SSE2", "AVX2"),
        ("conv native, not portable", 128, "conv", "SSE2", "native"),
    ]:
        pairs = [
            [
                in_a_process(f"numerics({batch_size}, {network!r}, {how!r})")[0]
                for how in (slow, fast)
            ]
            for _ in range(3)
        ]
        report(what, batch_size, *map(statistics.median, zip(*pairs, strict=True)))
    for batch_size in 32, 320:
        pairs = [
            [in_a_process(f"allocator({batch_size}, {keeps})")[0] for keeps in (False, True)]
            for _ in range(5)
        ]
        report(
            "freed memory is kept", batch_size, *map(statistics.median, zip(*pairs, strict=True))
        )


if __name__ == "__main__":
    main()
