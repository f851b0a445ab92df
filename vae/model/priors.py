"""Priors p(z): the standard Gaussian, and a mixture that is learned with the model."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vae.model.densities import Density, gaussian_kl
from vae.numerics import exp, linear, log_sum_exp, softmax

if TYPE_CHECKING:
    from vae.model.vae import VAE


class Prior(ABC, nn.Module):
    """p(z) over [..., latent]. A new one needs `log_prob` and `sample`."""

    def follow(self, model: "VAE") -> None:
        """Makes ready for the model that the prior is of. Raises ValueError if it does not fit."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats: [..., latent] → [...]."""

    @abstractmethod
    def sample(self, noise: Tensor, uniform: Tensor) -> Tensor:
        """z ~ p(z), [N, latent], from noise [N, latent] ~ N(0, 1) and uniform [N] ~ U(0, 1)."""

    def kl(self, posterior: Density, z: Tensor) -> Tensor:
        """KL(q ‖ p) in nats, estimated by log q(z) − log p(z) at draws z ~ q: [..., latent] → [...]
        (Kingma & Welling 2014, eq. 6).
        """
        return posterior.log_prob(z) - self.log_prob(z)

    def kl_of_dimensions(self, posterior: Density, z: Tensor) -> Tensor | None:
        """The KL of each dimension, given those before it at z, which sum to the KL: [N, latent] or
        [..., N, latent]; None if it is not known.
        """
        return None


class StandardPrior(Prior):
    """N(0, I)."""

    def __init__(self, latent_dim: int):
        super().__init__()

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * z.square().sum(-1)

    def sample(self, noise: Tensor, uniform: Tensor) -> Tensor:
        return noise

    def kl(self, posterior: Density, z: Tensor) -> Tensor:
        """Exact for a Gaussian, and so the same for all draws; of a ladder, exact at each draw."""
        exact = self.kl_of_dimensions(posterior, z)
        return super().kl(posterior, z) if exact is None else exact.sum(-1).expand(z.shape[:-1])

    def kl_of_dimensions(self, posterior: Density, z: Tensor) -> Tensor | None:
        gaussian = posterior.conditional(z)
        return None if gaussian is None else gaussian_kl(gaussian)


class MixturePrior(Prior):
    """Σ_c π_c N(m_c, diag s_c²) with all of π, m and s learned."""

    def __init__(self, latent_dim: int, components: int = 500):
        super().__init__()
        self.means = nn.Parameter(torch.randn(components, latent_dim))
        self.log_stds = nn.Parameter(torch.zeros(components, latent_dim))
        self.logits = nn.Parameter(torch.zeros(components))

    def log_prob(self, z: Tensor) -> Tensor:
        precision = exp(-2 * self.log_stds)  # [C, latent]
        # ½ Σ (z − m)²/s², as products of matrices
        constant = (0.5 * self.means.square() * precision + self.log_stds).sum(-1)
        rows = z.flatten(0, -2)
        products = linear(rows, self.means * precision) - linear(rows.square(), 0.5 * precision)
        logs = products + (self.logits - constant)
        return (log_sum_exp(logs) - log_sum_exp(self.logits)).view(z.shape[:-1])

    def sample(self, noise: Tensor, uniform: Tensor) -> Tensor:
        ends = softmax(self.logits).cumsum(0)
        component = torch.searchsorted(ends, uniform).clamp(max=len(ends) - 1)
        return self.means[component] + exp(self.log_stds[component]) * noise
