"""Posteriors q(z|x), made from an encoder's outputs.

Every standard deviation is positive and finite, whatever the outputs are.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vae.model.densities import Density, Gaussian, NoGaussian
from vae.model.networks.mlp import Layers
from vae.numerics import exp, log, log_sigmoid, sigmoid

MOMENT_DRAWS = 100  # draws for the moments of a posterior that is no Gaussian
SMALLEST_VARIANCE = 1e-14  # keeps the logarithm of a variance of 0 finite
CONTEXT = 64  # outputs of the encoder that steer a flow
MIN_LOG_STD, MAX_LOG_STD = -15.0, 10.0  # a std of 3e-7 to 22,026

# Applies a function to a tensor in the model's precision.
Apply = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]


class Posterior(ABC, nn.Module):
    """Turns an encoder's outputs into a density."""

    def __init__(self, latent_dim: int):
        super().__init__()
        self.latent_dim = latent_dim

    @staticmethod
    def outputs(latent_dim: int) -> int:
        """How many outputs of the encoder the posterior takes."""
        return 2 * latent_dim

    def follow(self, decoder: nn.Module, run: Apply) -> None:
        """Makes ready for a decoder whose state the posterior depends on. Raises ValueError if it
        cannot, or if the decoder has groups of latents, which only such a posterior infers.
        """
        if hasattr(decoder, "sizes"):
            raise ValueError("it needs model.posterior = 'ladder'")

    @abstractmethod
    def forward(self, outputs: Tensor) -> Density:
        """[N, outputs] → q(z|x) of N images."""


class BoundedPosterior(Posterior):
    """A Gaussian with its mean in (−1, 1) and its std in (0, 1): the original's tanh heads, the
    second moved into (0, 1).
    """

    def forward(self, outputs: Tensor) -> Gaussian:
        mean, scale = outputs.chunk(2, dim=-1)
        scale = scale.clamp(min=MIN_LOG_STD)
        return Gaussian(mean.tanh(), sigmoid(scale), log_sigmoid(scale))


class GaussianPosterior(Posterior):
    """A Gaussian with any mean and any positive std."""

    def forward(self, outputs: Tensor) -> Gaussian:
        mean, scale = outputs.chunk(2, dim=-1)
        log_std = (scale / 2).clamp(MIN_LOG_STD, MAX_LOG_STD)
        return Gaussian(mean, exp(log_std), log_std)


class FlowPosterior(Posterior):
    """A Gaussian transformed by a flow that depends on the image (Rezende & Mohamed 2015,
    arXiv:1505.05770). The flow consists of affine couplings (Dinh et al. 2017, arXiv:1605.08803).
    """

    LAYERS, UNITS = 4, 192  # products with sides of 193 to 256 are slow in portable numerics

    def __init__(self, latent_dim: int):
        super().__init__(latent_dim)
        self.gaussian = GaussianPosterior(latent_dim)
        self.flow = Flow(Coupling(latent_dim, self.UNITS) for _ in range(self.LAYERS))

    @staticmethod
    def outputs(latent_dim: int) -> int:
        return 2 * latent_dim + CONTEXT

    def forward(self, outputs: Tensor) -> "FlowDensity":
        of_gaussian, context = outputs.split([2 * self.latent_dim, CONTEXT], dim=-1)
        parameters: dict[str, Tensor] = dict(self.flow.named_parameters())
        return FlowDensity(self.gaussian(of_gaussian), self.flow, parameters, context)


class Coupling(nn.Module):
    """Scales and shifts the second half of a vector by amounts that depend on the first half."""

    def __init__(self, latent_dim: int, units: int):
        super().__init__()
        self.first = latent_dim // 2
        self.second = latent_dim - self.first
        self.network = Layers(self.first + CONTEXT, units, 2 * self.second)
        for parameter in self.network[-1].parameters():
            nn.init.zeros_(parameter)  # the identity at first

    def terms(self, first: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """→ shift and log scale, [..., second]; a scale is between 1/e and e."""
        context = context.expand(*first.shape[:-1], CONTEXT)
        shift, scale = self.network(torch.cat([first, context], -1)).chunk(2, -1)
        return shift, scale.tanh()


class Flow(nn.ModuleList):
    """Couplings. After each, the two halves of the vector change places."""

    @property
    def couplings(self) -> list[Coupling]:
        return [layer for layer in self if isinstance(layer, Coupling)]

    def transform(self, u: Tensor, context: Tensor) -> Tensor:
        """u [..., latent] and context [N, CONTEXT] → [..., latent]."""
        for layer in self.couplings:
            first, second = u.split([layer.first, layer.second], -1)
            shift, log_scale = layer.terms(first, context)
            u = torch.cat([second * exp(log_scale) + shift, first], -1)
        return u

    def invert(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of `transform`, and the log of its Jacobian's determinant: z [..., latent] →
        [..., latent] and [...].
        """
        log_determinant = z.new_zeros(())
        for layer in reversed(self.couplings):
            second, first = z.split([layer.second, layer.first], -1)
            shift, log_scale = layer.terms(first, context)
            z = torch.cat([first, (second - shift) * exp(-log_scale)], -1)
            log_determinant = log_determinant - log_scale.sum(-1)
        return z, log_determinant

    def forward(self, vector: Tensor, context: Tensor, inverse: bool = False) -> object:
        """What torch's functional_call calls."""
        return (self.invert if inverse else self.transform)(vector, context)


@dataclass(frozen=True)
class FlowDensity(NoGaussian):
    """The density of `flow.transform(u)` for u from a Gaussian. Its parts are [N, ...]."""

    base: Gaussian
    flow: Flow
    parameters: dict[str, Tensor]  # the flow's
    context: Tensor  # [N, CONTEXT]

    @property
    def center(self) -> Tensor:
        """The point to which the flow moves the Gaussian's mean."""
        return self._moved(self.base.mean)

    @property
    def gaussian(self) -> Gaussian:
        return self.base

    def around(self, gaussian: Gaussian) -> "FlowDensity":
        return replace(self, base=gaussian)

    def draw(self, noise: Tensor) -> Tensor:
        return self._moved(self.base.draw(noise))

    def _moved(self, u: Tensor) -> Tensor:
        return functional_call(self.flow, self.parameters, (u, self.context))

    def log_prob(self, z: Tensor) -> Tensor:
        u, log_determinant = functional_call(self.flow, self.parameters, (z, self.context, True))
        return self.base.log_prob(u) + log_determinant

    def moments(self, stream: torch.Generator) -> Gaussian:
        """Over MOMENT_DRAWS draws."""
        noise_shape = MOMENT_DRAWS, *self.base.mean.shape
        z = self.draw(torch.randn(noise_shape, device=self.context.device, generator=stream))
        mean = z.mean(0)
        variance = (z - mean).square().sum(0) / (MOMENT_DRAWS - 1)
        log_std = 0.5 * log(variance.clamp(min=SMALLEST_VARIANCE))
        return Gaussian(mean, exp(log_std), log_std)

    def detach(self) -> "FlowDensity":
        parameters = {name: tensor.detach() for name, tensor in self.parameters.items()}
        return FlowDensity(self.base.detach(), self.flow, parameters, self.context.detach())
