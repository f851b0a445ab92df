"""Fits the VAE.

Writes models/vae.safetensors and metrics/train.json, and a row of plots/training.csv an epoch.
"""

import time
from collections.abc import Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from stages.dataset import Images, load_images
from stages.errors import run_stage
from stages.files import CsvLog, write_json
from stages.mlp import FlatAdam
from stages.params import Train, load_params
from stages.runtime import generator, start, threads_for
from stages.statistics import mean_and_stderr
from stages.vae import VAE, Architecture, elbo_gradient, elbo_terms

EVALUATION_BATCH = 500


@torch.no_grad()
def train_epoch(
    model: VAE,
    optimizer: FlatAdam,
    images: Tensor,
    noise: Tensor,
    batch_size: int,
    kl_weight: float,
) -> tuple[Tensor, Tensor]:
    """One pass over images [N, 784] in the order given, with noise [N, latent].

    → reconstruction [N] and KL [N] in nats, each of the model as it was at the image's step.
    Nothing is read back from the device, so that on a GPU the host runs ahead.
    """
    reconstruction, kl = torch.empty(2, len(images), device=images.device)
    for first in tqdm(range(0, len(images), batch_size), unit="step", leave=False, disable=None):
        batch = slice(first, first + batch_size)
        x = images[batch].float()
        with threads_for(len(x)):
            reconstruction[batch], kl[batch] = elbo_gradient(model, x, noise[batch], kl_weight)
        optimizer.step()
    return reconstruction, kl


@torch.no_grad()
def evaluate_elbo(model: VAE, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Reconstruction [N] and KL [N] of a model at rest, one draw an image; as `train_epoch`."""
    batches = zip(images.split(EVALUATION_BATCH), noise.split(EVALUATION_BATCH), strict=True)
    terms = [elbo_terms(model, x.float(), eps) for x, eps in batches]
    reconstruction, kl = zip(*terms, strict=True)
    return torch.cat(reconstruction), torch.cat(kl)


def summarize(reconstruction: Tensor, kl: Tensor) -> dict[str, float]:
    """Means over images, in nats per image."""
    terms = {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
    return {name: mean_and_stderr(values)[0] for name, values in terms.items()}


def fit(
    model: VAE, params: Train, train: Images, validation: Images
) -> Iterator[tuple[dict[str, float], dict[str, float]]]:
    """Trains `model` in place, and after each epoch gives the train and validation summaries.

    The train ELBO is the mean over the epoch's steps, of a model in motion; the validation ELBO
    is the model's at the epoch's end. Every random draw comes from params.seed and the epoch.
    """
    device = train.pixels.device
    latent_dim = model.architecture.latent_dim
    optimizer = FlatAdam(model, params.learning_rate)

    def noise(count: int, purpose: str) -> Tensor:
        stream = generator(device, params.seed, purpose)
        return torch.randn(count, latent_dim, device=device, generator=stream)

    validation_pixels = validation.pixels
    validation_noise = noise(len(validation_pixels), "validation noise")  # the same each epoch
    for epoch in range(1, params.epochs + 1):
        order = generator("cpu", params.seed, f"order of epoch {epoch}")
        shuffled = torch.randperm(len(train.pixels), generator=order).to(device)
        pixels = train.binary(generator(device, params.seed, f"pixels of epoch {epoch}"))[shuffled]
        terms = train_epoch(
            model, optimizer, pixels, noise(len(pixels), f"noise of epoch {epoch}"),
            params.batch_size, params.kl_weight,
        )  # fmt: skip
        at_rest = evaluate_elbo(model, validation_pixels, validation_noise)
        yield summarize(*terms), summarize(*at_rest)


def main() -> None:
    params = load_params()
    device = start(params.train.device, "train.device")
    train = load_images("data/train.safetensors").to(device)
    validation = load_images("data/validation.safetensors").to(device)

    torch.manual_seed(params.train.seed)  # of the initial weights, the same on every device
    model = VAE(Architecture(**params.model.model_dump())).to(device)

    epochs, began = params.train.epochs, time.perf_counter()
    with CsvLog("plots/training.csv") as log:
        for epoch, (moving, at_rest) in enumerate(fit(model, params.train, train, validation), 1):
            columns = [(name, split) for name in moving for split in ("train", "validation")]
            values = {"train": moving, "validation": at_rest}
            log.append({"epoch": epoch} | {f"{s}_{name}": values[s][name] for name, s in columns})
            seconds = time.perf_counter() - began
            print(
                f"epoch {epoch:{len(str(epochs))}}/{epochs}   train ELBO {moving['elbo']:9.3f}   "
                f"validation ELBO {at_rest['elbo']:9.3f} nats   {seconds:.0f} s",
                flush=True,
            )

    stream = generator(device, params.train.seed, "final noise")
    metrics = {"epochs": epochs}
    for name, images in ("train", train), ("validation", validation):
        pixels = images.binary(stream)
        noise = torch.randn(len(pixels), params.model.latent_dim, device=device, generator=stream)
        metrics[name] = summarize(*evaluate_elbo(model, pixels, noise))
    model.save("models/vae.safetensors")
    write_json("metrics/train.json", metrics)


if __name__ == "__main__":
    run_stage(main)
