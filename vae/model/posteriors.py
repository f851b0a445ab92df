"""Posteriors q(z|x), made from an encoder's outputs.

Every standard deviation is positive and finite, whatever the outputs are.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import logsigmoid

from vae.model.densities import Density, Gaussian, exp
from vae.model.networks.mlp import MLP

MOMENT_DRAWS = 100  # of a posterior that is no Gaussian
CONTEXT = 64  # outputs of the encoder that steer a flow
MIN_LOG_STD, MAX_LOG_STD = -15.0, 10.0  # a std of 3e-7 to 22,026


class Posterior(ABC, nn.Module):
    """Turns an encoder's outputs into a density."""

    def __init__(self, latent_dim: int):
        super().__init__()

    @staticmethod
    def outputs(latent_dim: int) -> int:
        """How many outputs of the encoder the posterior takes."""
        return 2 * latent_dim

    @abstractmethod
    def forward(self, outputs: Tensor) -> Density:
        """[N, outputs] → q(z|x) of N images."""


class BoundedPosterior(Posterior):
    """A Gaussian with its mean in (−1, 1) and its std in (0, 1).

    These are the original's tanh heads. The second is moved into (0, 1): σ(h) = (1 + tanh(h/2))/2.
    """

    def forward(self, outputs: Tensor) -> Gaussian:
        mean, spread = outputs.chunk(2, dim=-1)
        spread = spread.clamp(min=MIN_LOG_STD)
        std = ((-spread).expm1() + 2).reciprocal()  # 1/(1 + e^−h)
        return Gaussian(mean.tanh(), std, logsigmoid(spread))


class GaussianPosterior(Posterior):
    """A Gaussian with any mean and any positive std."""

    def forward(self, outputs: Tensor) -> Gaussian:
        mean, spread = outputs.chunk(2, dim=-1)
        log_std = (spread / 2).clamp(MIN_LOG_STD, MAX_LOG_STD)
        return Gaussian(mean, exp(log_std), log_std)


class FlowPosterior(Posterior):
    """A Gaussian transformed by a flow that depends on the image (Rezende & Mohamed 2015,
    arXiv:1505.05770). The flow consists of affine couplings (Dinh et al. 2017, arXiv:1605.08803).
    """

    LAYERS, UNITS = 4, 192  # products with sides of 193 to 256 are slow in portable numerics

    def __init__(self, latent_dim: int):
        super().__init__(latent_dim)
        self.gaussian = GaussianPosterior(latent_dim)
        self.latent_dim = latent_dim
        self.flow = Flow(Coupling(latent_dim, self.UNITS) for _ in range(self.LAYERS))

    @staticmethod
    def outputs(latent_dim: int) -> int:
        return 2 * latent_dim + CONTEXT

    def forward(self, outputs: Tensor) -> "Bent":
        of_gaussian, context = outputs.tensor_split([2 * self.latent_dim], dim=-1)
        parameters: dict[str, Tensor] = dict(self.flow.named_parameters())
        return Bent(self.gaussian(of_gaussian), self.flow, parameters, context)


class Coupling(nn.Module):
    """Scales and shifts the second half of a vector by amounts that depend on the first half."""

    def __init__(self, latent_dim: int, units: int):
        super().__init__()
        self.first = latent_dim // 2
        self.second = latent_dim - self.first
        self.network = MLP(self.first + CONTEXT, units, 2 * self.second)
        for parameter in self.network[-1].parameters():
            nn.init.zeros_(parameter)  # the identity at first

    def terms(self, first: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """→ shift and log scale, [..., second]; a scale is between 1/e and e."""
        context = context.expand(*first.shape[:-1], CONTEXT)
        shift, spread = self.network(torch.cat([first, context], -1)).chunk(2, -1)
        return shift, spread.tanh()


class Flow(nn.ModuleList):
    """Couplings. After each, the two halves of the vector change places."""

    @property
    def couplings(self) -> list[Coupling]:
        return [layer for layer in self if isinstance(layer, Coupling)]

    def bend(self, u: Tensor, context: Tensor) -> Tensor:
        """[..., latent] and [N, CONTEXT] → [..., latent]."""
        for layer in self.couplings:
            first, second = u.split([layer.first, layer.second], -1)
            shift, log_scale = layer.terms(first, context)
            u = torch.cat([second * exp(log_scale) + shift, first], -1)
        return u

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of `bend`, and the log of its Jacobian's determinant: z [..., latent] →
        [..., latent] and [...].
        """
        log_determinant = z.new_zeros(())
        for layer in reversed(self.couplings):
            second, first = z.split([layer.second, layer.first], -1)
            shift, log_scale = layer.terms(first, context)
            z = torch.cat([first, (second - shift) * exp(-log_scale)], -1)
            log_determinant = log_determinant - log_scale.sum(-1)
        return z, log_determinant


class Bent(NamedTuple):
    """The density of `flow.bend(u)` for u from a Gaussian. Its parts are [N, ...]."""

    gaussian: Gaussian
    flow: Flow
    parameters: dict[str, Tensor]  # of the flow, for its density
    context: Tensor  # [N, CONTEXT]

    @property
    def center(self) -> Tensor:
        """The point to which the flow moves the Gaussian's mean: [N, latent]."""
        return self.flow.bend(self.gaussian.mean, self.context)

    def around(self, gaussian: Gaussian) -> "Bent":
        """The same flow after another Gaussian."""
        return self._replace(gaussian=gaussian)

    def draw(self, noise: Tensor) -> Tensor:
        """Draws [K, ..., latent] from noise of that shape, N(0, 1) and independent throughout."""
        return self.flow.bend(self.gaussian.draw(noise), self.context)

    def log_prob(self, z: Tensor) -> Tensor:
        """[..., latent] → [...] in nats, without −½ log 2π a dimension."""
        u, log_determinant = functional_call(self.flow, self.parameters, (z, self.context))
        return self.gaussian.log_prob(u) + log_determinant

    def moments(self, stream: torch.Generator) -> Gaussian:
        """Mean and std of each dimension, [N, latent], over MOMENT_DRAWS draws."""
        mean = self.gaussian.mean
        shape = MOMENT_DRAWS, *mean.shape
        z = self.draw(torch.randn(shape, device=mean.device, generator=stream))
        mean = z.mean(0)
        variance = (z - mean).square().sum(0) / (MOMENT_DRAWS - 1)
        log_std = 0.5 * (variance - 1).log1p()
        return Gaussian(mean, exp(log_std), log_std)

    def detach(self) -> "Bent":
        """The same density as a constant: `log_prob` gives its parameters no gradient."""
        parameters = {name: tensor.detach() for name, tensor in self.parameters.items()}
        return Bent(self.gaussian.detach(), self.flow, parameters, self.context.detach())
