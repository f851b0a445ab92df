"""Training: an epoch, and all epochs of a run, which can resume after any of them."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from vae.errors import UserError
from vae.evaluation.elbo import elbo_at_rest, summarize
from vae.images import Images
from vae.model.vae import VAE
from vae.numerics import generator, seed_of
from vae.training.checkpoint import Row
from vae.training.run import GRID, Run


def train_epoch(run: Run, pixels: Tensor, stream: torch.Generator, epoch: int) -> Tensor:
    """One pass over levels, uint8 [N, C, H, W], in the given order, with noise from `stream`.

    → reconstruction and KL, [2, N], in nats, each image's under the model at its own step. A GPU's
    results are read only at the end, so that the host can run ahead.
    Raises Diverged if a value is not finite.
    """
    settings, device = run.settings, pixels.device
    steps = math.ceil(len(pixels) / settings.batch_size)
    before, total = (epoch - 1) * steps, settings.epochs * steps
    numbers = range(before, before + steps)
    # Where the optimizer takes it to the host, a learning rate has Python's precision.
    precision = torch.float64 if device.type == "cpu" else torch.float32
    peak, done = settings.learning_rate, [(number + 1) / (total + 1) for number in numbers]
    rates = torch.tensor([peak * run.schedule(its) for its in done], dtype=precision, device=device)
    progress = torch.tensor([number / total for number in numbers], device=device)
    run.model.train()
    terms = run.step.epoch(pixels, stream, rates, progress)
    run.model.eval()
    check_finite(terms, settings.batch_size)
    return terms


class Diverged(Exception):
    """Training has diverged; the message says at which step and how."""


def check_finite(terms: Tensor, batch_size: int) -> None:
    """terms [2, N]: reconstruction and KL of each image. Raises Diverged."""
    wrong = (~terms.isfinite().all(0)).nonzero()
    if len(wrong):
        step = wrong[0].item() // batch_size
        before = terms[:, (step - 1) * batch_size : step * batch_size]
        last = summarize(*before)["elbo"] if step else math.nan
        raise Diverged(
            f"at step {step + 1}: the ELBO is not finite (last finite value: {last} nats)"
        )


def check_sense(at_rest: Tensor, kl_weight: float, model: VAE) -> None:
    """Raises Diverged if the bound is ten times worse than a guess at random for each pixel, or not
    finite. at_rest: reconstruction and KL of the validation images at an epoch's end.
    """
    reconstruction, kl = at_rest
    trained = (reconstruction - kl_weight * kl).cpu().double().mean().item()
    guess = -model.architecture.pixels * math.log(model.likelihood.levels)
    if not trained > 10 * guess:  # also refuses NaN, for which every comparison is false
        raise Diverged(
            f"at its end: reconstruction − kl_weight·KL is {trained:.4g} nats, where a guess at "
            f"random for each pixel has {guess:.0f}"
        )


def fit(run: Run, train: Images, validation: Images) -> Iterator[Row]:
    """Trains the run's model in place. After each epoch it appends a row of training.csv to the
    run's rows and yields it. After the last epoch, the model has the weights that are to be kept.

    The train columns are means over the epoch's steps, while the model changes. The validation
    columns measure the model at the epoch's end. Every random draw depends only on the seed and the
    number of the epoch, so that training can resume at any epoch.
    """
    settings, model, device = run.settings, run.model, train.pixels.device

    def stream(purpose: str) -> torch.Generator:
        return generator(device, settings.seed, purpose)

    shape = len(validation.pixels), model.architecture.latent_dim  # the same noise after each epoch
    validation_noise = torch.randn(shape, device=device, generator=stream("validation noise"))
    validation_pixels = model.labelled(validation.pixels, validation.labels)
    for epoch in range(len(run.rows) + 1, settings.epochs + 1):
        order = generator("cpu", settings.seed, f"order of epoch {epoch}")
        shuffled = torch.randperm(len(train.pixels), generator=order).to(device)
        drawn = train.drawn(stream(f"pixels of epoch {epoch}"))
        pixels = model.labelled(drawn, train.labels)[shuffled]
        torch.manual_seed(seed_of(settings.seed, f"dropout of epoch {epoch}"))  # a network's own
        try:
            moving = train_epoch(run, pixels, stream(f"noise of epoch {epoch}"), epoch)
            at_rest = elbo_at_rest(model, validation_pixels, validation_noise)
            check_sense(at_rest, settings.kl_weight, model)
        except Diverged as diverged:
            others = {"weight_decay": 0, "kl_weight": 10}  # a larger value may be the cause
            now = {name: getattr(settings, name) for name in others}
            also = [
                f", or train.{n}, now {now[n]:g}" for n, usual in others.items() if now[n] > usual
            ]
            raise UserError(
                f"training diverged in epoch {epoch} {diverged}.\n"
                f"Try a smaller train.learning_rate, now {settings.learning_rate:g}"
                f"{''.join(also)}"
            ) from None
        if epoch in run.grids:
            images = model.sample(GRID, stream("latents of the grids"))
            run.grids[epoch] = (255 * images + 0.5).to("cpu", torch.uint8)  # rounded
        run.rows.append(row(epoch, moving, at_rest))
        best = max(its["validation_elbo"] for its in run.rows)
        if settings.keep == "best" and run.rows[-1]["validation_elbo"] == best:
            run.best = {name: value.clone() for name, value in model.state_dict().items()}
        yield run.rows[-1]
    if run.best:
        model.load_state_dict(run.best)


def row(epoch: int, moving: Tensor, at_rest: Tensor) -> Row:
    """A row of training.csv, from the epoch's own terms and those of the validation images."""
    summaries = {"train": summarize(*moving), "validation": summarize(*at_rest)}
    return {"epoch": epoch} | {
        f"{split}_{name}": summary[name]
        for name in ("elbo", "reconstruction", "kl")
        for split, summary in summaries.items()
    }


def final_metrics(
    model: VAE, seed: int, train: Images, validation: Images
) -> dict[str, dict[str, float]]:
    """The ELBO and its parts, on all training and validation images, of a model at rest."""
    device = train.pixels.device
    stream = generator(device, seed, "final noise")
    metrics = {}
    for name, images in ("train", train), ("validation", validation):
        pixels = model.labelled(images.drawn(stream), images.labels)
        shape = len(pixels), model.architecture.latent_dim
        noise = torch.randn(shape, device=device, generator=stream)
        metrics[name] = summarize(*elbo_at_rest(model, pixels, noise))
    return metrics
