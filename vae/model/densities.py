"""Densities of latents, in nats. Like the priors, they leave out −½ log 2π for each dimension: it
cancels in the KL.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor, nn


class Density(ABC):
    """q(z|x) of N images."""

    mean: Tensor  # [N, latent]
    std: Tensor  # [N, latent]
    log_std: Tensor  # [N, latent]

    @property
    @abstractmethod
    def center(self) -> Tensor:
        """The point that stands for the density in pictures: [N, latent]."""

    @property
    @abstractmethod
    def gaussian(self) -> "Gaussian":
        """The Gaussian that the density is made from."""

    @abstractmethod
    def around(self, gaussian: "Gaussian") -> Self:
        """The density that another Gaussian gives in the place of this one's own."""

    @abstractmethod
    def draw(self, noise: Tensor) -> Tensor:
        """Draws [K, ..., latent] from noise of that shape, N(0, 1) and independent throughout."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """[..., latent] → [...] in nats."""

    @abstractmethod
    def moments(self, stream: torch.Generator) -> "Gaussian":
        """Mean and std of each dimension; of no Gaussian, estimated by draws from `stream`."""

    @abstractmethod
    def detach(self) -> Self:
        """The same density as a constant: its parameters get no gradient."""

    def conditional(self, z: Tensor) -> "Gaussian | None":
        """The Gaussian of each latent given those before it in z, [..., latent]; None if it is no
        Gaussian.
        """
        return None

    def decoding(self, decoder: nn.Module, z: Tensor) -> Callable[[Tensor], Tensor]:
        """What decodes the draws z: the decoder, or a part of it if the rest has been done."""
        return decoder


@dataclass(frozen=True)
class Gaussian(Density):
    """N(mean, diag std²): each [..., latent]; log_std is the logarithm of std."""

    mean: Tensor
    std: Tensor
    log_std: Tensor

    @property
    def center(self) -> Tensor:
        return self.mean

    @property
    def gaussian(self) -> "Gaussian":
        return self

    def around(self, gaussian: "Gaussian") -> "Gaussian":
        return gaussian

    def draw(self, noise: Tensor) -> Tensor:
        return self.mean + self.std * noise

    def log_prob(self, z: Tensor) -> Tensor:
        return -(0.5 * ((z - self.mean) / self.std).square() + self.log_std).sum(-1)

    def moments(self, stream: torch.Generator) -> "Gaussian":
        return self

    def conditional(self, z: Tensor) -> "Gaussian":
        return self

    def detach(self) -> "Gaussian":
        return Gaussian(self.mean.detach(), self.std.detach(), self.log_std.detach())


class NoGaussian(Density):
    """Its mean and std are its `moments`."""

    @cached_property
    def _moments(self) -> Gaussian:
        with torch.no_grad():
            return self.moments(torch.Generator(self.gaussian.mean.device).manual_seed(0))

    @property
    def mean(self) -> Tensor:  # type: ignore[override]
        return self._moments.mean

    @property
    def std(self) -> Tensor:  # type: ignore[override]
        return self._moments.std

    @property
    def log_std(self) -> Tensor:  # type: ignore[override]
        return self._moments.log_std


def gaussian_kl(q: Gaussian) -> Tensor:
    """KL(q ‖ N(0, I)) of each dimension in nats, [..., latent] (Kingma & Welling 2014, app. B)."""
    return 0.5 * (q.mean.square() + q.std.square() - 1) - q.log_std
