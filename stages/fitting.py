"""Fitting a VAE: an epoch, and the epochs of a run, which can go on where it was stopped."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from stages.dataset import Images, blocks
from stages.errors import UserError
from stages.gradients import bound_gradient, elbo_gradient
from stages.mlp import FlatAdam
from stages.params import Params, Train
from stages.runtime import generator
from stages.schedule import learning_rates
from stages.selection import Selection
from stages.statistics import mean_and_stderr
from stages.threads import adapt_threads
from stages.vae import VAE, Architecture, elbo_terms

GRID = 16  # digits of a picture on the way
CHECKED_STEPS = 100  # how often training looks whether it has diverged


@dataclass
class Run:
    """A model in training, with all that its next epochs depend on."""

    params: Train
    model: VAE
    optimizer: FlatAdam
    selection: Selection
    grids: dict[int, Tensor]  # of the epochs to be pictured: the same latents decoded, in grey
    rows: list[dict]  # of training.csv: one for each epoch that is done

    @classmethod
    def new(cls, params: Params, train: Images) -> "Run":
        """On the device of `train`, with random weights that are the same on every device."""
        torch.manual_seed(params.train.seed)
        model = VAE(Architecture(**params.model.model_dump()))
        model.binarization = train.binarization
        if params.train.decoder_bias == "log_odds":
            model.decoder[-1].bias.data = train.log_odds()
        precision = getattr(torch, params.train.precision)
        model.to(train.pixels.device)
        optimizer = FlatAdam(model, precision, params.train.weight_decay)
        selection = Selection(optimizer.vector, params.train.ema, params.train.keep)
        grids = {
            epoch: torch.zeros(GRID, 28, 28, dtype=torch.uint8) for epoch in pictured(params.train)
        }
        return cls(params.train, model, optimizer, selection, grids, [])

    def state(self) -> dict[str, Tensor]:
        grids = {f"grid of epoch {epoch}": grid for epoch, grid in self.grids.items()}
        return self.optimizer.state() | self.selection.state() | grids

    def gradient(self, x: Tensor, noise: Tensor, kl_weight: float) -> tuple[Tensor, Tensor]:
        """Puts the loss's gradient into the optimizer → reconstruction and KL, [N] each.

        x [N, 784] in {0, 1}, noise [k, N, latent].
        """
        model, estimator = self.model, self.params.gradient
        plain = len(noise) == 1 and estimator == "reparameterized"
        if plain and model.architecture.prior == "standard":
            return elbo_gradient(model, x, noise[0], kl_weight)
        return bound_gradient(model, x, noise, kl_weight, estimator)


def pictured(params: Train) -> list[int]:
    """The epochs with a picture: params.grids of them, evenly, and the last among them."""
    return sorted({-(-params.epochs * n // params.grids) for n in range(1, params.grids + 1)})


@torch.inference_mode()
def train_epoch(
    run: Run, images: Tensor, stream: torch.Generator, epoch: int
) -> tuple[Tensor, Tensor]:
    """One pass over images [N, 784] in the order given, with noise from `stream`.

    → reconstruction [N] and KL [N] in nats, each of the model as it was at the image's step.
    Nothing is read back from a GPU before the end, so that the host runs ahead.
    Raises Diverged as soon as a value is seen that is not finite.
    """
    params, model, size = run.params, run.model, run.params.batch_size
    kl_weight = params.kl_weight * min(1, epoch / (params.kl_warmup_epochs + 1))
    rates = learning_rates(params, epoch, math.ceil(len(images) / size))
    reconstruction, kl = terms = torch.zeros(2, len(images), device=images.device)
    for step, rate in enumerate(tqdm(rates, unit="step", leave=False, disable=None)):
        batch = slice(step * size, (step + 1) * size)
        x = images[batch].float()
        adapt_threads(len(x))
        shape = params.importance_samples, len(x), model.architecture.latent_dim
        noise = torch.randn(shape, device=x.device, generator=stream)
        reconstruction[batch], kl[batch] = run.gradient(x, noise, kl_weight)
        run.optimizer.step(rate)
        run.selection.after_step((epoch - 1) * len(rates) + step + 1)
        if images.device.type == "cpu" and step % CHECKED_STEPS == 0:
            check_finite(terms, size)
    check_finite(terms, size)
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
        x = x.float()
        terms.append(elbo_terms(model, x, *model.encode(x), eps))
    reconstruction, kl = torch.cat(terms, dim=1)
    return reconstruction, kl


def summarize(reconstruction: Tensor, kl: Tensor) -> dict[str, float]:
    """Means over images, in nats per image."""
    terms = {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
    return {name: mean_and_stderr(values)[0] for name, values in terms.items()}


def fit(run: Run, train: Images, validation: Images) -> Iterator[dict[str, float]]:
    """Trains the run's model on, in place, and gives a row of training.csv an epoch, which it has
    added to the run's. After the last, the model has the weights that are to be kept.

    The train columns are means over the epoch's steps, of a model in motion; the validation
    columns are the model's at the epoch's end. Every random draw comes from params.seed and the
    number of the epoch alone, so that training can go on at any epoch.
    """
    params, model, device = run.params, run.model, train.pixels.device

    def stream(purpose: str) -> torch.Generator:
        return generator(device, params.seed, purpose)

    shape = len(validation.pixels), model.architecture.latent_dim  # the same noise after each epoch
    validation_noise = torch.randn(shape, device=device, generator=stream("validation noise"))
    for epoch in range(len(run.rows) + 1, params.epochs + 1):
        order = generator("cpu", params.seed, f"order of epoch {epoch}")
        shuffled = torch.randperm(len(train.pixels), generator=order).to(device)
        pixels = train.binary(stream(f"pixels of epoch {epoch}"))[shuffled]
        try:
            noise = stream(f"noise of epoch {epoch}")
            moving = train_epoch(run, pixels, noise, epoch)
            with run.selection.at_rest():
                at_rest = evaluate_elbo(model, validation.pixels, validation_noise)
                if epoch in run.grids:
                    digits = model.sample(GRID, stream("latents of the grids"))
                    run.grids[epoch].copy_(255 * digits + 0.5)  # rounded, for it drops fractions
            if not torch.stack(at_rest).isfinite().all():
                steps = math.ceil(len(pixels) / params.batch_size)
                raise Diverged(steps, summarize(*moving)["elbo"])
        except Diverged as diverged:
            raise UserError(
                f"training diverged in epoch {epoch} at step {diverged.step}: the ELBO is not "
                f"finite (last finite value: {diverged.last_elbo} nats).\n"
                f"Try a smaller train.learning_rate, now {params.learning_rate}"
            ) from None
        summaries = {"train": summarize(*moving), "validation": summarize(*at_rest)}
        run.rows.append(
            {"epoch": epoch}
            | {
                f"{split}_{name}": summary[name]
                for name in ("elbo", "reconstruction", "kl")
                for split, summary in summaries.items()
            }
        )
        run.selection.after_epoch([row["validation_elbo"] for row in run.rows])
        yield run.rows[-1]
    run.selection.hand_over()


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
