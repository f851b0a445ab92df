"""Fits the VAE.

Writes models/vae.safetensors and metrics/train.json, and a row of plots/training.csv an epoch.
"""

import math
import sys
import time
from collections.abc import Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from stages.checkpoint import Checkpoint, fingerprint
from stages.dataset import Images, blocks, load_images
from stages.errors import UserError, run_stage
from stages.files import write_csv, write_json
from stages.mlp import FlatAdam
from stages.params import Params, Train, load_params
from stages.runtime import generator, start
from stages.schedule import learning_rates
from stages.statistics import mean_and_stderr
from stages.threads import adapt_threads
from stages.vae import VAE, Architecture, elbo_gradient, elbo_terms

DATA = "data/train.safetensors", "data/validation.safetensors"
CHECKED_STEPS = 100  # how often training looks whether it has diverged


@torch.inference_mode()
def train_epoch(
    model: VAE,
    optimizer: FlatAdam,
    images: Tensor,
    noise: Tensor,
    batch_size: int,
    kl_weight: float,
    rates: list[float],
) -> tuple[Tensor, Tensor]:
    """One pass over images [N, 784] in the order given, with noise [N, latent], and a learning
    rate for each step.

    → reconstruction [N] and KL [N] in nats, each of the model as it was at the image's step.
    Nothing is read back from a GPU before the end, so that the host runs ahead.
    Raises Diverged as soon as a value is seen that is not finite.
    """
    reconstruction, kl = terms = torch.zeros(2, len(images), device=images.device)
    for step, rate in enumerate(tqdm(rates, unit="step", leave=False, disable=None)):
        batch = slice(step * batch_size, (step + 1) * batch_size)
        x = images[batch].float()
        adapt_threads(len(x))
        reconstruction[batch], kl[batch] = elbo_gradient(model, x, noise[batch], kl_weight)
        optimizer.step(rate)
        if images.device.type == "cpu" and step % CHECKED_STEPS == 0:
            check_finite(terms, batch_size)
    check_finite(terms, batch_size)
    return reconstruction, kl


class Diverged(Exception):
    """A value that is not finite: its step of the epoch, from 1, and the last ELBO that was."""

    def __init__(self, step: int, last_elbo: float):
        super().__init__(step, last_elbo)
        self.step, self.last_elbo = step, last_elbo


def check_finite(terms: Tensor, batch_size: int) -> None:
    """terms [2, N]: reconstruction and KL of each image. Raises Diverged."""
    wrong = (~terms.isfinite().all(0)).nonzero()
    if len(wrong):
        step = wrong[0].item() // batch_size
        reconstruction, kl = terms[:, (step - 1) * batch_size : step * batch_size].cpu()
        raise Diverged(step + 1, summarize(reconstruction, kl)["elbo"] if step else math.nan)


@torch.no_grad()
def evaluate_elbo(model: VAE, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Reconstruction [N] and KL [N] of a model at rest, one draw an image; as `train_epoch`."""
    terms = []
    for x, eps in zip(blocks(images), blocks(noise), strict=True):
        adapt_threads(len(x))
        terms.append(torch.stack(elbo_terms(model, x.float(), eps)))
    reconstruction, kl = torch.cat(terms, dim=1)
    return reconstruction, kl


def summarize(reconstruction: Tensor, kl: Tensor) -> dict[str, float]:
    """Means over images, in nats per image."""
    terms = {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
    return {name: mean_and_stderr(values)[0] for name, values in terms.items()}


def new_model(params: Params, train: Images) -> VAE:
    """With random weights, the same whatever device it goes to."""
    torch.manual_seed(params.train.seed)
    model = VAE(Architecture(**params.model.model_dump()))
    if params.train.decoder_bias == "log_odds":
        model.decoder[-1].bias.data = train.log_odds()
    return model


def fit(
    model: VAE, optimizer: FlatAdam, params: Train, train: Images, validation: Images, done: int = 0
) -> Iterator[dict[str, float]]:
    """Trains `model` in place from epoch `done` + 1 on; gives a row of training.csv an epoch.

    The train columns are means over the epoch's steps, of a model in motion; the validation
    columns are the model's at the epoch's end. Every random draw comes from params.seed and the
    number of the epoch alone, so that training can go on at any epoch.
    """
    device = train.pixels.device
    steps = math.ceil(len(train.pixels) / params.batch_size)

    def noise(count: int, purpose: str) -> Tensor:
        stream = generator(device, params.seed, purpose)
        return torch.randn(count, model.architecture.latent_dim, device=device, generator=stream)

    validation_noise = noise(len(validation.pixels), "validation noise")  # the same each epoch
    for epoch in range(done + 1, params.epochs + 1):
        order = generator("cpu", params.seed, f"order of epoch {epoch}")
        shuffled = torch.randperm(len(train.pixels), generator=order).to(device)
        pixels = train.binary(generator(device, params.seed, f"pixels of epoch {epoch}"))[shuffled]
        try:
            moving = train_epoch(
                model, optimizer, pixels, noise(len(pixels), f"noise of epoch {epoch}"),
                params.batch_size, params.kl_weight, learning_rates(params, epoch, steps),
            )  # fmt: skip
            at_rest = evaluate_elbo(model, validation.pixels, validation_noise)
            if not torch.stack(at_rest).isfinite().all():
                raise Diverged(steps, summarize(*moving)["elbo"])
        except Diverged as diverged:
            raise UserError(
                f"training diverged in epoch {epoch} at step {diverged.step}: the ELBO is not "
                f"finite (last finite value: {diverged.last_elbo} nats).\n"
                f"Try a smaller train.learning_rate, now {params.learning_rate}"
            ) from None
        summaries = {"train": summarize(*moving), "validation": summarize(*at_rest)}
        yield {"epoch": epoch} | {
            f"{split}_{name}": summary[name]
            for name in ("elbo", "reconstruction", "kl")
            for split, summary in summaries.items()
        }


def final_metrics(model: VAE, seed: int, train: Images, validation: Images) -> dict:
    """The ELBO and its parts of the model at rest, on all training and validation images."""
    device = train.pixels.device
    stream = generator(device, seed, "final noise")
    metrics = {}
    for name, images in ("train", train), ("validation", validation):
        pixels = images.binary(stream)
        shape = len(pixels), model.architecture.latent_dim
        noise = torch.randn(shape, device=device, generator=stream)
        metrics[name] = summarize(*evaluate_elbo(model, pixels, noise))
    return metrics


def loaded_modules() -> list[str]:
    """The files of this project's code that training uses."""
    return sorted(
        module.__file__ for name, module in sys.modules.items() if name.startswith("stages.")
    )


def main() -> None:
    params = load_params()
    epochs = params.train.epochs
    device = start(params.train.device, "train.device", params.train.numerics == "portable")
    train = load_images(DATA[0]).to(device)
    validation = load_images(DATA[1]).to(device)

    model = new_model(params, train).to(device)
    optimizer = FlatAdam(model)
    checkpoint = Checkpoint(fingerprint(params, device, [*DATA, __file__, *loaded_modules()]))
    rows = checkpoint.restore(optimizer)
    if rows:
        print(f"going on after epoch {len(rows)} of {epochs}, where training stopped", flush=True)
        write_csv("plots/training.csv", rows)

    began = time.perf_counter()
    for row in fit(model, optimizer, params.train, train, validation, done=len(rows)):
        rows.append(row)
        checkpoint.save(optimizer, rows)
        write_csv("plots/training.csv", rows)
        print(
            f"epoch {row['epoch']:{len(str(epochs))}}/{epochs}   "
            f"train ELBO {row['train_elbo']:9.3f}   "
            f"validation ELBO {row['validation_elbo']:9.3f} nats   "
            f"{time.perf_counter() - began:.0f} s",
            flush=True,
        )

    metrics = final_metrics(model, params.train.seed, train, validation)
    model.save("models/vae.safetensors")
    write_json("metrics/train.json", {"epochs": epochs} | metrics)
    checkpoint.remove()


if __name__ == "__main__":
    run_stage(main)
