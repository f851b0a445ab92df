"""Measuring a model: its ELBO and its importance-weighted bounds, with their errors."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from tqdm import tqdm, trange

from vae.evaluation.proposals import refined
from vae.images import blocks
from vae.model.densities import Density, Gaussian, gaussian_kl
from vae.model.vae import VAE
from vae.numerics import exp, log_add_exp, mean, mean_and_stderr

ACTIVE_VARIANCE = 0.01  # of a latent dimension in use (Burda et al. 2016, section 5.2)
WITHOUT_DOUBLES = "mps"  # Apple's GPUs have no double precision
REPORTED = 1, 10, 100, 1000  # the k of the bounds, besides evaluate.importance_samples


class Bound:
    """The importance-weighted bound L_k, averaged over groups of k draws as the draws arrive."""

    def __init__(self, k: int, images: int, device: torch.device):
        self.k, self.draws = k, 0
        self.group = torch.full((images,), -math.inf, dtype=torch.float64, device=device)
        self.total, self.square = torch.zeros(2, images, dtype=torch.float64, device=device)

    def add(self, log_weight: Tensor) -> None:
        self.group = log_add_exp(self.group, log_weight)
        self.draws += 1
        if self.draws % self.k == 0:
            value = self.group - math.log(self.k)
            self.total += value
            self.square += value.square()
            self.group = torch.full_like(value, -math.inf)

    @property
    def groups(self) -> int:
        return self.draws // self.k

    def mean(self) -> Tensor:
        """[N], over the groups that are complete."""
        return self.total.cpu() / self.groups

    def variance(self) -> float:
        """The variance over other draws of the mean over the images, estimated from the groups, of
        which there have to be several.
        """
        of_images = self.square.cpu() / self.groups - self.mean().square()
        total = math.fsum(of_images.clamp(min=0).tolist())
        return total / (self.groups - 1) / len(of_images) ** 2


@dataclass(frozen=True)
class Evaluation:
    """The measurements of N images. All but the posterior are [N], in nats."""

    reconstruction: Tensor  # mean of log p(x|z) over the draws
    kl: Tensor
    bounds: list[Bound]  # ascending in k; the last is of all draws, one group
    parts: dict[int, Bound]  # by k: bounds of half and of a quarter of the draws
    effective_samples: Tensor  # (Σ w)² / Σ w² of all draws' weights
    posterior: Gaussian  # [N, latent]: mean and std of each dimension
    kl_of_dimensions: Tensor  # [N, latent]: of its posterior to N(0, 1), given those before it

    @property
    def elbo(self) -> Tensor:
        return self.reconstruction - self.kl

    @property
    def log_likelihood(self) -> Tensor:
        return self.bounds[-1].mean()

    def bound(self, k: int) -> Bound:
        return next(bound for bound in self.bounds if bound.k == k)

    def spread(self, bound: Bound) -> float | None:
        """Standard deviation, over other draws, of the bound's mean over the images.

        A bound of several groups shows it in their differences. That of a single group continues
        the line, in logarithms, from a quarter of its draws to a half: the delta method's 1/k is
        several times too small where few draws have most of the weight. Of fewer than four draws
        it is that of half of them, and of a single draw nothing is known. Of a few images it is a
        rough estimate, since few groups of draws show it.
        """
        if bound.groups > 1:
            variance = bound.variance()
        elif bound.k == 1:
            return None
        else:
            half, quarter = bound.k // 2, bound.k // 4
            variance = self.parts[half].variance() * self.parts[half].groups
            if quarter and variance:
                before = self.parts[quarter].variance() * self.parts[quarter].groups
                falls = min(1.0, max(quarter / half, variance / before))  # at most as 1/k
                variance *= falls ** (math.log(bound.k / half) / math.log(half / quarter))
        return round(math.sqrt(variance), 4)


@torch.no_grad()
def evaluate(
    model: VAE,
    pixels: Tensor,
    elbo_samples: int,
    importance_samples: int,
    stream: torch.Generator,
    proposal_steps: int = 0,
) -> Evaluation:
    """pixels: levels, uint8 [N, C, H, W], on the model's device.

    The bound's draws come from the posteriors after `proposal_steps` steps of `refined`.
    Each image is encoded once, and nothing but sums is kept of the draws. The noise of a draw is
    drawn for all images together, so that the size of a block does not matter.
    """
    x = model.scaled(pixels)  # once: at each draw it would cost 5% of its time
    pixel_blocks = blocks(x, model.numbers)
    posteriors = [model.posterior(block) for block in pixel_blocks]
    # Sums are kept in double precision, and read at the end.
    sums = torch.device("cpu") if pixels.device.type == WITHOUT_DOUBLES else pixels.device

    def terms_at_draws(
        terms: Callable[..., tuple[Tensor, Tensor]], densities: list[Density]
    ) -> Tensor:
        """The model's `terms` (elbo_terms or log_weights) of all images at one draw: [2, N]."""
        shape = len(pixels), model.architecture.latent_dim
        noise = torch.randn(shape, device=pixels.device, generator=stream)
        parts = [
            torch.stack(terms(x, q, q.draw(eps)))
            for x, q, eps in zip(pixel_blocks, densities, blocks(noise, model.numbers), strict=True)
        ]
        return torch.cat(parts, -1).to(sums).double()

    reconstruction, kl = torch.zeros(2, len(pixels), dtype=torch.float64, device=sums)
    for _ in trange(elbo_samples, desc="ELBO", unit="draw", leave=False, disable=None):
        at_draw = terms_at_draws(model.elbo_terms, posteriors)
        reconstruction += at_draw[0] / elbo_samples
        kl += at_draw[1] / elbo_samples

    proposals = posteriors
    if proposal_steps:
        pairs = list(zip(pixel_blocks, posteriors, strict=True))
        pairs = tqdm(pairs, desc="proposals", unit="block", leave=False, disable=None)
        proposals = [refined(model, x, q, proposal_steps, stream) for x, q in pairs]
    sizes = [k for k in REPORTED if k < importance_samples] + [importance_samples]
    shares = {k // share for k in sizes if 2 * k > importance_samples for share in (2, 4)} - {0}
    bounds, shared = ([Bound(k, len(pixels), sums) for k in its] for its in (sizes, shares))
    squares = Bound(importance_samples, len(pixels), sums)
    for _ in trange(importance_samples, desc="bound", unit="draw", leave=False, disable=None):
        log_likelihood, kl_at_draw = terms_at_draws(model.log_weights, proposals)
        weight = log_likelihood - kl_at_draw
        for bound in *bounds, *shared:
            bound.add(weight)
        squares.add(2 * weight)
    log_effective = 2 * bounds[-1].mean() - squares.mean() + math.log(importance_samples)
    moments = [q.moments(stream) for q in posteriors]
    parts = [(q.mean, q.std, q.log_std) for q in moments]
    posterior = Gaussian(*(torch.cat(its).cpu() for its in zip(*parts, strict=True)))
    noise = torch.randn(posterior.mean.shape, device=x.device, generator=stream)
    triples = zip(posteriors, moments, blocks(noise, model.numbers), strict=True)
    kls = [gaussian_kl(q.conditional(q.draw(eps)) or its) for q, its, eps in triples]
    return Evaluation(
        reconstruction.cpu(), kl.cpu(), bounds, {its.k: its for its in shared}, exp(log_effective),
        posterior, torch.cat(kls).cpu(),
    )  # fmt: skip


def units(kl: Tensor, means: Tensor) -> list[dict[str, float]]:
    """For each latent dimension, the mean KL of its posterior to N(0, 1), and the variance of its
    posterior mean over the images: of N images' KLs and means, [N, latent] each.

    Under a learned prior the KLs do not add up to the model's.
    """
    variances = variance_over_images(means).tolist()
    return [
        {"dimension": i, "kl": mean(kl[:, i]), "variance_of_mean": round(variance, 4)}
        for i, variance in enumerate(variances)
    ]


def kl_of_groups(kl: Sequence[float], groups: Sequence[int]) -> list[float]:
    """The KL of each group of latents, from that of each latent; `groups` are their sizes."""
    rest = iter(kl)
    return [math.fsum(islice(rest, size)) for size in groups]


def variance_over_images(means: Tensor) -> Tensor:
    """[N, latent] → [latent]."""
    means = means.double()
    return (means - means.mean(0)).square().mean(0)


def in_numbers(result: Evaluation, bound: Bound) -> dict[str, float]:
    """Means over the images and their standard errors, in nats. `bound` is one of the result's."""
    elbo, elbo_stderr = mean_and_stderr(result.elbo)
    log_likelihood, log_likelihood_stderr = mean_and_stderr(bound.mean())
    return {
        "elbo": elbo,
        "elbo_stderr": elbo_stderr,
        "reconstruction": mean(result.reconstruction),
        "kl": mean(result.kl),
        "log_likelihood": log_likelihood,
        "log_likelihood_stderr": log_likelihood_stderr,
        "importance_samples": bound.k,
    }
