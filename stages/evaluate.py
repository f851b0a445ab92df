"""Measures the model on all test images, and on up to 5,000 training and validation images.

Writes metrics/test.json, plots/splits.csv, plots/bounds.csv, plots/units.csv,
and pictures: plots/reconstructions.png, latent.png, interpolations.png, traversals.png.
"""

import math
from typing import Any

import torch

from pipeline.inputs import Inputs
from pipeline.params import load_params
from pipeline.pictures import save_grid, save_latent_map
from pipeline.stage import run_stage, start
from vae.errors import UserError
from vae.evaluation.bounds import (
    ACTIVE_VARIANCE,
    Evaluation,
    evaluate,
    in_numbers,
    kl_of_groups,
    units,
)
from vae.evaluation.walks import STEPS, along, between, held
from vae.files import write_csv, write_json
from vae.images import Images, kind, load_images
from vae.model.vae import VAE
from vae.numerics import generator, mean_and_stderr, settle

SPLITS = "train", "validation", "test"
COMPARED = 5000, 100  # images of the other splits, and draws, for plots/splits.csv
PICTURED = 12  # reconstructions shown
PAIRED = 10  # images that interpolations go between
TRAVERSED, REACH = 8, 2.0  # dimensions shown, and how far, in standard deviations


def main(inputs: Inputs) -> None:
    params = load_params().evaluate
    device = start(params.device, "evaluate.device", params.numerics, params.precision)
    splits = {name: load_images(f"data/{name}.safetensors") for name in SPLITS}
    model = VAE.load("models/vae.safetensors", device)
    model.precision = getattr(torch, params.precision)
    settle(model.networks)
    trained_on = kind(model.dataset, model.binarization, model.architecture.shape)
    for name, its in splits.items():
        if its.kind != trained_on:
            raise UserError(
                f"data/{name}.safetensors is {its.kind}; the model was trained on {trained_on}.\n"
                f"Their numbers mean different things. Make both again: dvc repro"
            )

    of = "p(x|y)" if model.classes else "p(x)"

    def measured(name: str, images: int, importance_samples: int) -> Evaluation:
        """Evaluates so many of the split's images, evenly: MNIST's first test images are harder."""
        pixels = splits[name].drawn(generator("cpu", params.seed, f"{name} pixels"))
        pixels = model.labelled(pixels, splits[name].labels)
        pixels = pixels[:: max(1, len(pixels) // images)][:images].to(device)
        stream = generator(device, params.seed, f"{name} evaluation")
        draws = params.elbo_samples, importance_samples
        result = evaluate(model, pixels, *draws, stream, params.proposal_steps)
        elbo, bound = (
            f"{value:.2f} ± {stderr:.2f}"
            for value, stderr in map(mean_and_stderr, (result.elbo, result.log_likelihood))
        )
        print(f"{name} ELBO {elbo} nats, log {of} ≥ {bound}", flush=True)
        return result

    test = splits["test"]
    images, draws = COMPARED[0], min(COMPARED[1], params.importance_samples)
    results = {name: measured(name, images, draws) for name in SPLITS if name != "test"}
    result = results["test"] = measured("test", len(test.pixels), params.importance_samples)
    inputs.check()  # before anything is written
    rows: list[dict[str, object]] = [
        {"split": name, **in_numbers(results[name], results[name].bound(draws))} for name in SPLITS
    ]
    write_csv("plots/splits.csv", rows)

    of_units = units(result.kl_of_dimensions, result.posterior.mean)
    numbers, pixels = in_numbers(result, result.bounds[-1]), model.architecture.pixels
    metrics: dict[str, Any] = numbers | {
        "log_likelihood_spread": result.spread(result.bounds[-1]),
        "effective_samples": round(result.effective_samples.median().item(), 1),
        "bits_per_dimension": round(-numbers["log_likelihood"] / (pixels * math.log(2)), 4),
        "active_units": sum(unit["variance_of_mean"] > ACTIVE_VARIANCE for unit in of_units),
        "dataset": model.dataset,
        "binarization": model.binarization,
    }
    if model.classes:
        metrics["conditional"] = True  # every bound is on log p(x|y)
    rows = []
    for bound in result.bounds:
        value, stderr = mean_and_stderr(bound.mean())
        spread = result.spread(bound)
        rows.append({"k": bound.k, "bound": value, "stderr": stderr, "spread": spread})
    write_csv("plots/bounds.csv", rows)
    write_csv("plots/units.csv", of_units)
    kl = [unit["kl"] for unit in of_units]
    save_pictures(model, result, test, metrics)
    if len(model.groups) > 1:
        save_groups(model, result, kl, generator(device, params.seed, "held groups"))
    else:
        save_traversals(model, result, test, metrics, kl)
    write_json("metrics/test.json", metrics)  # last, when all else has been written


def save_pictures(model: VAE, result: Evaluation, test: Images, metrics: dict[str, Any]) -> None:
    mean = result.posterior.mean
    placed = model.with_classes(mean, test.labels)
    images = model.scaled(test.pixels)
    labels = test.labels.tolist()
    elbo = f"test ELBO {metrics['elbo']:.1f} ± {metrics['elbo_stderr']:.1f} nats"

    shown = images[:PICTURED]
    save_grid(
        "plots/reconstructions.png",
        torch.cat([shown, model.mean_images(placed[:PICTURED]).cpu()]).numpy(), PICTURED,
        f"{model.dataset} test images and their reconstructions, {elbo}",
        row_labels=["image", "at the\nposterior\nmean"],
    )  # fmt: skip
    save_latent_map("plots/latent.png", mean.numpy(), test.labels.numpy(), model.dataset)

    pairs = [(i, i + 1) for i in range(0, min(PAIRED, len(images) - 1), 2)] or [(0, 0)]
    first, second = torch.tensor(pairs).T
    on_the_way = model.mean_images(between(placed[first], placed[second])).cpu()
    on_the_way = on_the_way.unflatten(0, (len(pairs), -1))
    ends = images[first].unsqueeze(1), images[second].unsqueeze(1)
    save_grid(
        "plots/interpolations.png",
        torch.cat([ends[0], on_the_way, ends[1]], dim=1).flatten(0, 1).numpy(), STEPS + 2,
        f"From one {model.dataset} test image (left) to another (right), decoded along the line "
        f"between their posterior means{' and classes' if model.classes else ''}; {elbo}",
        row_labels=[f"{labels[a]} to {labels[b]}" for a, b in pairs],
    )  # fmt: skip


def save_traversals(
    model: VAE, result: Evaluation, test: Images, metrics: dict[str, Any], kl: list[float]
) -> None:
    """kl has the KL of each latent dimension."""
    mean, std = result.posterior.mean, result.posterior.std
    strongest = sorted(range(len(kl)), key=lambda dimension: -kl[dimension])[:TRAVERSED]
    lines = along(mean, std, strongest, REACH)
    lines = model.with_classes(lines, test.labels[:1].expand(len(lines)))
    save_grid(
        "plots/traversals.png",
        model.mean_images(lines).cpu().numpy(), STEPS,
        f"{model.dataset}, one latent dimension at a time, {REACH:g} standard deviations to each "
        f"side; {metrics['active_units']} of {len(kl)} dimensions are active"
        f"{f', class {test.labels[0]}' if model.classes else ''}",
        row_labels=[f"z{dimension}\n{kl[dimension]:.2f} nats" for dimension in strongest],
    )  # fmt: skip


def save_groups(model: VAE, result: Evaluation, kl: list[float], stream: torch.Generator) -> None:
    """Traversals of a model whose latents stand in groups: samples with the upper groups held."""
    groups = model.groups
    noise = torch.randn(STEPS, sum(groups), generator=stream, device=stream.device)
    uniform = torch.rand(STEPS, generator=stream, device=stream.device)
    center = result.posterior.mean[0].to(noise.device)
    latents = held(center, groups, model.prior.sample(noise, uniform))
    of_groups = ", ".join(f"{nats:.1f}" for nats in kl_of_groups(kl, groups))
    save_grid(
        "plots/traversals.png",
        model.mean_images(latents).cpu().numpy(), STEPS,
        f"New {model.dataset} images that have their first groups of latents from one test image; "
        f"KL of the groups: {of_groups} nats",
        row_labels=[f"first {count}" if count else "none" for count in range(len(groups))],
    )  # fmt: skip


if __name__ == "__main__":
    run_stage("evaluate", main)
