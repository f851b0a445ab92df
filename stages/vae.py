"""The variational autoencoder, and its bounds on log p(x) as pure functions of tensors.

p(z) is N(0, I), or learned (stages/priors.py); p(x|z) is Bernoulli, its logits from the decoder;
q(z|x) is a diagonal Gaussian.
Every bound is in nats per image, higher is better. Kingma & Welling 2014 (arXiv:1312.6114);
Burda, Grosse & Salakhutdinov 2016 (arXiv:1509.00519).
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from stages.densities import bernoulli, exp, gaussian_kl, log_add_exp
from stages.errors import UserError
from stages.files import load_tensors, save_tensors
from stages.mlp import MLP
from stages.priors import PRIORS

PIXELS = 28 * 28
MIN_LOG_STD, MAX_LOG_STD = -15.0, 10.0  # a std of 3e-7 to 22,026


@dataclass(frozen=True)
class Architecture:
    hidden_dims: tuple[int, ...]
    latent_dim: int
    posterior: str  # bounded | gaussian
    prior: str = "standard"  # standard | mixture
    residual: bool = False

    def __post_init__(self):
        if self.posterior not in ("bounded", "gaussian"):
            raise ValueError(f"unknown posterior {self.posterior!r}")
        if self.prior not in PRIORS:
            raise ValueError(f"unknown prior {self.prior!r}")


class VAE(nn.Module):
    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        self.binarization = ""  # of the data it was trained on
        hidden, latent = architecture.hidden_dims, architecture.latent_dim
        skips = architecture.residual
        # Mean and spread: both heads are one layer.
        self.encoder = MLP(PIXELS, *hidden, 2 * latent, residual=skips)
        self.decoder = MLP(latent, *reversed(hidden), PIXELS, residual=skips)
        self.prior = PRIORS[architecture.prior](latent)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q(z|x) = N(mean, std²): images in {0, 1}, [N, 784] or [N, 28, 28] → mean, std, log std.

        Each [N, latent]; std is positive and finite whatever the images. Raises ValueError if
        these are no such images.
        """
        return self.posterior(self.encoder(self.rows(images)))

    def rows(self, images: Tensor) -> Tensor:
        """Images as `encode` takes them → float [N, 784]. Raises ValueError as it does."""
        if images.shape[1:] not in ((28, 28), (PIXELS,)):
            raise ValueError(
                f"images of shape {tuple(images.shape)}: should be [N, 28, 28] or [N, {PIXELS}]"
            )
        x = images.flatten(1).float()
        wrong = x[(x != 0) & (x != 1)]
        if len(wrong):
            raise ValueError(
                f"a pixel is {wrong[0]:g}: should be 0 or 1, as in the model's training images "
                f"(binarization: {self.binarization or 'unknown'})"
            )
        return x

    def posterior(self, heads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The encoder's output [N, 2·latent] → mean, std and log std, each [N, latent]."""
        mean, spread = heads.chunk(2, dim=-1)
        if self.architecture.posterior == "bounded":
            # The original's tanh heads, the second moved into (0, 1): σ(h) = (1 + tanh(h/2))/2.
            odds_against = (-spread.clamp(min=MIN_LOG_STD)).expm1() + 1  # e^−h; σ(h) = 1/(1 + e^−h)
            return mean.tanh(), (odds_against + 1).reciprocal(), -odds_against.log1p()
        log_std = (spread / 2).clamp(MIN_LOG_STD, MAX_LOG_STD)
        return mean, exp(log_std), log_std

    def by_heads(self, mean: Tensor, std: Tensor, by_mean: Tensor, by_log_std: Tensor) -> Tensor:
        """`posterior` backwards: the loss's gradient by the encoder's output [N, 2·latent]."""
        if self.architecture.posterior == "bounded":
            return torch.cat([by_mean * (1 - mean.square()), by_log_std * (1 - std)], dim=-1)
        return torch.cat([by_mean, by_log_std / 2], dim=-1)

    def decode(self, z: Tensor) -> Tensor:
        """p(x|z): latents [..., latent] → logits of the pixels [..., 784].

        Raises ValueError if the latents have another dimension.
        """
        latent = self.architecture.latent_dim
        if z.shape[-1:] != (latent,):
            raise ValueError(f"latents of shape {tuple(z.shape)}: should be [..., {latent}]")
        return self.decoder(z)

    @torch.no_grad()
    def reconstruct(self, images: Tensor) -> Tensor:
        """Images as `encode` takes them → pixel probabilities [N, 28, 28] at the posterior mean."""
        mean, _, _ = self.encode(images)
        return probabilities(self.decode(mean))

    @torch.no_grad()
    def log_likelihood(
        self, images: Tensor, draws: int = 500, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images as `encode` takes them → the importance-weighted bound on each one's log p(x) with
        so many draws, [N] in nats (Burda et al., eq. 8). `stages.measure` adds its errors.
        """
        x = self.rows(images)
        posterior = self.posterior(self.encoder(x))
        bound = torch.full((len(x),), -math.inf, dtype=torch.float64)
        for _ in range(draws):
            shape = posterior[0].shape
            noise = torch.randn(shape, generator=generator, device=x.device)
            bound = log_add_exp(bound, log_weight(self, x, *posterior, noise).cpu().double())
        return bound - math.log(draws)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """`count` new digits from the prior: pixel probabilities [count, 28, 28]."""
        device = next(self.parameters()).device
        rows = max(count, 32)  # products of fewer rows differ between processors
        shape = rows, self.architecture.latent_dim
        noise = torch.randn(shape, generator=generator, device=device)
        z = self.prior.sample(noise, torch.rand(rows, generator=generator, device=device))
        return probabilities(self.decode(z))[:count]

    def save(self, path: str | Path) -> None:
        """Writes the weights, with the architecture in the metadata: `load` needs nothing else."""
        architecture = json.dumps(asdict(self.architecture))
        metadata = {"architecture": architecture, "binarization": self.binarization}
        save_tensors(path, self.state_dict(), metadata)

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> "VAE":
        """Reads a model that `save` wrote. Raises UserError if the file is not such a model."""
        tensors, metadata = load_tensors(path)
        try:
            fields = json.loads(metadata["architecture"])
            model = cls(Architecture(**fields))
            model.binarization = metadata["binarization"]
            model.load_state_dict(tensors)
            if not all(tensor.isfinite().all() for tensor in tensors.values()):
                raise ValueError("some of its weights are not finite")
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{path} does not hold a VAE of this project ({reason}).\n"
                f"Delete it and train again: dvc repro"
            ) from None
        return model.to(device).eval()


def probabilities(logits: Tensor) -> Tensor:
    """Logits [..., 784] → the pixels' probabilities of being 1, [..., 28, 28]."""
    return (0.5 + 0.5 * (logits / 2).tanh()).unflatten(-1, (28, 28))  # σ(logits)


def elbo_terms(
    model: VAE, x: Tensor, mean: Tensor, std: Tensor, log_std: Tensor, noise: Tensor
) -> Tensor:
    """Both parts of each image's ELBO at one draw of z: log p(x|z) and the KL, [2, N] in nats.

    x [N, 784] in {0, 1}; mean, std and log_std [N, latent] from `encode`; noise [N, latent] from
    N(0, 1), independent over images and dimensions. The KL is exact for the standard prior
    (Kingma & Welling, eq. 7), log q(z|x) − log p(z) at the draw for the others (their eq. 6).
    """
    z = mean + std * noise
    if model.architecture.prior == "standard":
        kl = gaussian_kl(mean, std, log_std)
    else:
        log_q = -(0.5 * noise.square() + log_std).sum(-1)
        kl = log_q - model.prior.log_prob(z)
    return torch.stack([bernoulli(x, model.decode(z)), kl])


def log_weight(
    model: VAE, x: Tensor, mean: Tensor, std: Tensor, log_std: Tensor, noise: Tensor
) -> Tensor:
    """log p(x, z)/q(z|x) at one draw of z, arguments as in `elbo_terms`: [N], in nats.

    The logarithm of the mean of k such weights is the bound L_k of Burda et al., eq. 8: the ELBO
    in expectation at k = 1, growing with k towards log p(x).
    """
    z = mean + std * noise
    log_q = -(0.5 * noise.square() + log_std).sum(-1)
    return bernoulli(x, model.decode(z)) + (model.prior.log_prob(z) - log_q)
