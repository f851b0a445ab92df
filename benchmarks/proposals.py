"""The bound by the encoder's proposals and by better ones: `python -m benchmarks.proposals`.

Measures the model in models/ on 500 validation images, taken evenly, in a few minutes. The bound
can only rise towards log p(x), so that of two proposals the one with the higher bound is nearer to
it.
"""

import time

import torch

from vae.common.params import load_params
from vae.common.runtime import generator, start
from vae.data.images import load_images
from vae.evaluation.bounds import evaluate
from vae.model.vae import VAE

IMAGES = 500
PROPOSALS = [(0, 100), (0, 5000), (20, 100), (50, 100), (50, 300), (50, 1000), (200, 1000)]


def main() -> None:
    params = load_params().evaluate
    start("cpu", "evaluate.device", portable=False)
    model = VAE.load("models/vae.safetensors")
    images = load_images("data/validation.safetensors")
    pixels = images.binary(generator("cpu", 0, "validation pixels"))
    pixels = pixels[:: len(pixels) // IMAGES][:IMAGES]
    print("| precision | steps | draws | log p(x) ≥ | spread | effective samples | seconds |")
    print("| --- " * 7 + "|")
    rows = [(params.precision, *row) for row in PROPOSALS] + [("float32", *PROPOSALS[3])]
    for precision, steps, draws in rows:
        model.precision = getattr(torch, precision)
        began = time.perf_counter()
        result = evaluate(model, pixels, 1, draws, generator("cpu", 0, "proposals"), steps)
        seconds = time.perf_counter() - began
        bound = result.bounds[-1]
        effective = result.effective_samples.median().item()
        value, spread = bound.mean().mean().item(), result.spread(bound)
        print(f"| {precision} | {steps} | {draws:,} | {value:.3f} | {spread:.3f} | {effective:.0f} "
              f"| {seconds:.0f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
