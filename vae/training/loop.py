"""Training: a step, an epoch, and all epochs of a run, which can resume after any of them."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from vae.common.errors import UserError
from vae.common.runtime import generator, seed_of
from vae.common.threads import adapt_threads
from vae.data.images import Images
from vae.evaluation.elbo import elbo_at_rest, summarize
from vae.model.architecture import PIXELS
from vae.model.objectives import loss
from vae.model.vae import VAE
from vae.training.checkpoint import Row
from vae.training.processes import ALONE, sizes
from vae.training.run import GRID, Run
from vae.training.schedule import learning_rates

CHECKED_STEPS = 100  # how often training looks whether it has diverged


def update(run: Run, x: Tensor, noise: Tensor, learning_rate: float) -> tuple[Tensor, Tensor]:
    """One step of training on x [N, 784] in {0, 1}, with noise [K, N, latent].

    → reconstruction and KL, [N] each, under the model before the step.
    """
    params = run.params
    run.optimizer.zero_grad()
    if params.shards == 1:
        value, reconstruction, kl = loss(run.model, x, noise, params.kl_weight, params.gradient)
        value.backward()
    else:
        reconstruction, kl = sharded(run, x, noise)
    run.optimizer.step(learning_rate)
    return reconstruction, kl


def sharded(run: Run, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Sets each parameter's `.grad` to the gradient of the whole batch, summed over all shards.

    → reconstruction and KL, [N] each. They are zero for the shards of other processes.
    """
    params, parameters = run.params, list(run.model.parameters())
    reconstruction, kl = x.new_zeros(2, len(x))
    gradients = []
    seed = int(torch.randint(2**62, ()))  # of a network's own randomness, the same everywhere
    for shard, part in run.processes.parts(len(x), params.shards):
        torch.manual_seed(seed + shard)
        count = part.stop - part.start
        # An empty shard takes an image with weight zero: torch's pixel shuffle fails without any.
        rows = part if count else slice(0, 1)
        value, *terms = loss(run.model, x[rows], noise[:, rows], params.kl_weight, params.gradient)
        reconstruction[part], kl[part] = (term[:count] for term in terms)
        value.backward(value.new_tensor(count / len(x)))
        used = [parameter for parameter in parameters if parameter.grad is not None]
        gradients.append(torch.cat([p.grad.flatten() for p in used if p.grad is not None]))
        run.optimizer.zero_grad()
    torch.manual_seed(seed - 1)
    total = run.processes.tree_sum(gradients)
    for parameter, its in zip(used, total.split([p.numel() for p in used]), strict=True):
        # In the parameter's own order in memory, which for a convolution may be another one.
        parameter.grad = torch.empty_like(parameter).copy_(its.view_as(parameter))
    return reconstruction, kl


def train_epoch(
    run: Run, images: Tensor, stream: torch.Generator, epoch: int
) -> tuple[Tensor, Tensor]:
    """One pass over images [N, 784] in the given order, with noise from `stream`.

    → reconstruction [N] and KL [N] in nats, each under the model at the image's own step.
    A GPU's results are read only at the end, so that the host can run ahead.
    Raises Diverged when it sees a value that is not finite.
    """
    params, size = run.params, run.params.batch_size
    rates = learning_rates(params, epoch, math.ceil(len(images) / size))
    reconstruction, kl = terms = torch.zeros(2, len(images), device=images.device)
    looks = images.device.type == "cpu" and run.processes is ALONE
    run.model.train()
    for step, rate in enumerate(tqdm(rates, unit="step", leave=False, disable=None)):
        batch = slice(step * size, (step + 1) * size)
        x = images[batch].float()
        adapt_threads(sizes(len(x), params.shards)[0])
        shape = params.importance_samples, len(x), run.model.architecture.latent_dim
        noise = torch.randn(shape, device=x.device, generator=stream)
        reconstruction[batch], kl[batch] = update(run, x, noise, rate)
        if looks and step % CHECKED_STEPS == 0:
            check_finite(terms, size)
    run.model.eval()
    run.processes.whole(terms)
    check_finite(terms, size)
    return reconstruction, kl


class Diverged(Exception):
    """Training has diverged; the message says at which step and how."""


def check_finite(terms: Tensor, batch_size: int) -> None:
    """terms [2, N]: reconstruction and KL of each image. Raises Diverged."""
    wrong = (~terms.isfinite().all(0)).nonzero()
    if len(wrong):
        step = wrong[0].item() // batch_size
        reconstruction, kl = terms[:, (step - 1) * batch_size : step * batch_size].cpu()
        last = summarize(reconstruction, kl)["elbo"] if step else math.nan
        raise Diverged(
            f"at step {step + 1}: the ELBO is not finite (last finite value: {last} nats)"
        )


def check_sense(at_rest: tuple[Tensor, Tensor], kl_weight: float) -> None:
    """Raises Diverged if the objective is ten times worse than a coin flip for each pixel, or not
    finite. at_rest: reconstruction and KL of the validation images at an epoch's end.
    """
    reconstruction, kl = at_rest
    trained = (reconstruction - kl_weight * kl).double().mean().item()
    coin_flips = PIXELS * math.log(0.5)
    if not trained > 10 * coin_flips:  # false of what is no number, too
        raise Diverged(
            f"at its end: reconstruction − kl_weight·KL is {trained:.4g} nats, where a coin flip "
            f"for each pixel has {coin_flips:.0f}"
        )


def fit(run: Run, train: Images, validation: Images) -> Iterator[Row]:
    """Trains the run's model in place. After each epoch it appends a row of training.csv to the
    run's rows and yields it. After the last epoch, the model has the weights that are to be kept.

    The train columns are means over the epoch's steps, while the model changes. The validation
    columns measure the model at the epoch's end. Every random draw depends only on params.seed and
    the number of the epoch, so that training can resume at any epoch.
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
        torch.manual_seed(seed_of(params.seed, f"dropout of epoch {epoch}"))  # a network's own
        try:
            moving = train_epoch(run, pixels, stream(f"noise of epoch {epoch}"), epoch)
            at_rest = elbo_at_rest(model, validation.pixels, validation_noise)
            check_sense(at_rest, params.kl_weight)
        except Diverged as diverged:
            others = {"weight_decay": 0, "kl_weight": 10}  # and from where on they may be the cause
            now = {name: getattr(params, name) for name in others}
            also = [
                f", or train.{n}, now {now[n]:g}" for n, usual in others.items() if now[n] > usual
            ]
            raise UserError(
                f"training diverged in epoch {epoch} {diverged}.\n"
                f"Try a smaller train.learning_rate, now {params.learning_rate:g}"
                f"{''.join(also)}"
            ) from None
        if epoch in run.grids:
            digits = model.sample(GRID, stream("latents of the grids"))
            run.grids[epoch] = (255 * digits + 0.5).to("cpu", torch.uint8)  # rounded
        summaries = {"train": summarize(*moving), "validation": summarize(*at_rest)}
        run.rows.append(
            {"epoch": epoch}
            | {
                f"{split}_{name}": summary[name]
                for name in ("elbo", "reconstruction", "kl")
                for split, summary in summaries.items()
            }
        )
        if params.keep == "best" and is_best(run.rows):
            run.best = {name: value.clone() for name, value in model.state_dict().items()}
        yield run.rows[-1]
    if run.best:
        model.load_state_dict(run.best)


def is_best(rows: list[Row]) -> bool:
    """Whether the last of the epochs has the highest validation ELBO."""
    return rows[-1]["validation_elbo"] == max(row["validation_elbo"] for row in rows)


def final_metrics(
    model: VAE, seed: int, train: Images, validation: Images
) -> dict[str, dict[str, float]]:
    """The ELBO and its parts, on all training and validation images, of a model at rest."""
    device = train.pixels.device
    stream = generator(device, seed, "final noise")
    metrics = {}
    for name, images in ("train", train), ("validation", validation):
        pixels = images.binary(stream)
        shape = len(pixels), model.architecture.latent_dim
        noise = torch.randn(shape, device=device, generator=stream)
        metrics[name] = summarize(*elbo_at_rest(model, pixels, noise))
    return metrics
