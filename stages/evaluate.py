"""Measures the model: the test images in full, and some of each split side by side.

Writes metrics/test.json, plots/splits.csv, plots/bounds.csv, plots/units.csv,
plots/reconstructions.png and plots/latent.png.
"""

import math

import torch

from stages.dataset import load_images
from stages.errors import UserError, run_stage
from stages.files import write_csv, write_json
from stages.measure import Evaluation, active_units, evaluate, in_numbers, units
from stages.params import load_params
from stages.pictures import save_grid, save_latent_map
from stages.runtime import generator, start
from stages.statistics import mean_and_stderr
from stages.threads import adapt_threads
from stages.vae import PIXELS, VAE

SPLITS = "train", "validation", "test"
COMPARED = 5000, 100  # images of the other splits, and draws, for plots/splits.csv
PICTURED = 12  # reconstructions shown


def main() -> None:
    params = load_params().evaluate
    device = start(params.device, "evaluate.device")
    splits = {name: load_images(f"data/{name}.safetensors") for name in SPLITS}
    model = VAE.load("models/vae.safetensors", device)
    for name, images in splits.items():
        if images.binarization != model.binarization:
            raise UserError(
                f"data/{name}.safetensors is binarized as {images.binarization!r}, the model was "
                f"trained on {model.binarization!r}: their numbers mean different things.\n"
                f"Make both again: dvc repro"
            )

    def measured(name: str, images: int, importance_samples: int) -> Evaluation:
        """Of so many of the split's images, taken evenly: MNIST's first test images are harder."""
        pixels = splits[name].binary(generator("cpu", params.seed, f"{name} pixels"))
        pixels = pixels[:: max(1, len(pixels) // images)][:images].to(device)
        stream = generator(device, params.seed, f"{name} evaluation")
        return evaluate(model, pixels, params.elbo_samples, importance_samples, stream)

    test = splits["test"]
    images, draws = COMPARED[0], min(COMPARED[1], params.importance_samples)
    results = {name: measured(name, images, draws) for name in SPLITS if name != "test"}
    result = results["test"] = measured("test", len(test.pixels), params.importance_samples)
    rows = [
        {"split": name} | in_numbers(results[name], results[name].bound(draws)) for name in SPLITS
    ]
    write_csv("plots/splits.csv", rows)

    numbers = in_numbers(result, result.bounds[-1])
    metrics = numbers | {
        "log_likelihood_spread": result.spread(result.bounds[-1]),
        "effective_samples": round(result.effective_samples.median().item(), 1),
        "bits_per_dimension": round(-numbers["log_likelihood"] / (PIXELS * math.log(2)), 4),
        "active_units": active_units(result.posterior[0]),
        "binarization": model.binarization,
    }
    write_json("metrics/test.json", metrics)
    print(f"test ELBO {metrics['elbo']:.2f} ± {metrics['elbo_stderr']:.2f} nats, log p(x) ≥ "
          f"{metrics['log_likelihood']:.2f} ± {metrics['log_likelihood_stderr']:.2f}")  # fmt: skip
    rows = []
    for bound in result.bounds:
        value, stderr = mean_and_stderr(bound.mean())
        spread = result.spread(bound)
        rows.append({"k": bound.k, "bound": value, "stderr": stderr, "spread": spread})
    write_csv("plots/bounds.csv", rows)
    write_csv("plots/units.csv", units(*result.posterior))

    originals = test.pixels[:PICTURED].unflatten(1, (28, 28)).float()
    adapt_threads(PICTURED)
    with torch.no_grad():
        reconstructions = model.reconstruct(originals.to(device)).cpu()
    save_grid(
        "plots/reconstructions.png", torch.cat([originals, reconstructions]).numpy(), PICTURED,
        f"Test images and their reconstructions, test ELBO {metrics['elbo']:.1f} nats",
        row_labels=["image", "at the\nposterior\nmean"],
    )  # fmt: skip
    save_latent_map("plots/latent.png", result.posterior[0].numpy(), test.labels.numpy())


if __name__ == "__main__":
    run_stage(main)
