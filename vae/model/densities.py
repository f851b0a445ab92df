"""Logarithms of densities as pure functions of tensors, in nats.

Only operations whose bits are the same on every x86-64 processor are used: tanh, expm1, log1p,
logsigmoid, and sums over the first or last dimension (tests/test_bits.py). torch's own exp, log,
sqrt, sigmoid, softplus, softmax and logsumexp are not among them.
"""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class Density(Protocol):
    """A posterior of N images. `Gaussian` documents the methods."""

    @property
    def gaussian(self) -> "Gaussian": ...
    @property
    def center(self) -> Tensor: ...
    def around(self, gaussian: "Gaussian") -> "Density": ...
    def draw(self, noise: Tensor) -> Tensor: ...
    def log_prob(self, z: Tensor) -> Tensor: ...
    def moments(self, stream: torch.Generator) -> "Gaussian": ...
    def detach(self) -> "Density": ...


class Gaussian(NamedTuple):
    """N(mean, diag std²): each [..., latent]; log_std is the logarithm of std."""

    mean: Tensor
    std: Tensor
    log_std: Tensor

    @property
    def center(self) -> Tensor:
        """The point that stands for the density in pictures: [..., latent]."""
        return self.mean

    @property
    def gaussian(self) -> "Gaussian":
        """Itself. Other posteriors are made from a Gaussian, and return that."""
        return self

    def around(self, gaussian: "Gaussian") -> "Gaussian":
        """The density that another Gaussian gives in the place of this one's own."""
        return gaussian

    def draw(self, noise: Tensor) -> Tensor:
        """Draws [K, ..., latent] from noise of that shape, N(0, 1) and independent throughout."""
        return self.mean + self.std * noise

    def log_prob(self, z: Tensor) -> Tensor:
        """[..., latent] → [...] in nats, without −½ log 2π a dimension."""
        return -(0.5 * ((z - self.mean) / self.std).square() + self.log_std).sum(-1)

    def moments(self, stream: torch.Generator) -> "Gaussian":
        """Mean and std of each dimension. Other posteriors estimate them by draws from `stream`."""
        return self

    def detach(self) -> "Gaussian":
        """The same density as a constant: no gradient reaches its parameters."""
        return Gaussian(*(tensor.detach() for tensor in self))


def gaussian_kl(q: Gaussian) -> Tensor:
    """KL(q ‖ N(0, I)) in nats: [..., latent] → [...] (Kingma & Welling 2014, app. B)."""
    return (0.5 * (q.mean.square() + q.std.square() - 1) - q.log_std).sum(-1)


def bernoulli(x: Tensor, logits: Tensor) -> Tensor:
    """log p(x|z) = Σ log σ(±l), with + where the pixel is 1: [..., 784] → [...] in nats.

    x in {0, 1} and logits l, both [..., 784]. Finite for any finite logits.
    """
    return logsigmoid((2 * x - 1) * logits).sum(-1)


def exp(x: Tensor) -> Tensor:
    """e^x as accurate as torch.exp, from expm1 (see the top of the file)."""
    return torch.where(x > 0, x.expm1() + 1, ((-x).expm1() + 1).reciprocal())


def log_add_exp(a: Tensor, b: Tensor) -> Tensor:
    """log(e^a + e^b), for adding up weights whose logarithms are known. Not for two −inf."""
    return torch.maximum(a, b) + exp(-(a - b).abs()).log1p()


def log_sum_exp(logs: Tensor, dim: int = -1) -> Tensor:
    """log Σ e^log over the first or the last dimension. Finite if any log is."""
    top = logs.amax(dim, keepdim=True).detach()
    return top.squeeze(dim) + ((logs - top).expm1() + 1).sum(dim).sub(1).log1p()


def log_mean_exp(logs: Tensor) -> Tensor:
    """log of the mean of e^log over the first dimension: [K, ...] → [...]."""
    if len(logs) == 1:  # which saves 3% of a small step
        return logs[0]
    return log_sum_exp(logs, 0) - math.log(len(logs))


def normalized(log_weights: Tensor) -> Tensor:
    """Weights over the first dimension, [K, ...], that sum to 1, from their logarithms."""
    weights = (log_weights - log_weights.amax(0)).expm1() + 1
    return weights / weights.sum(0)
