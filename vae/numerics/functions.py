"""Elementary functions. Their portable forms have the same bits on every x86-64 processor.

These use only torch's tanh, expm1, log1p, logsigmoid, reciprocal and frexp, and sums and maxima
over the first or the last dimension. torch's own exp, log, sqrt, sigmoid, softplus, softmax and
logsumexp have other bits for each instruction set (tests/test_bits.py). With native numerics, exp,
sigmoid and log_add_exp are torch's own.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from vae.numerics.products import Rule

log_sigmoid = logsigmoid  # finite for every finite x


def exp(x: Tensor) -> Tensor:
    """e^x, as accurate as torch.exp."""
    if not Rule.portable:
        return x.exp()
    # The second is kept finite, also where it is not taken: at infinity its gradient would be NaN.
    most = 709 if x.dtype == torch.float64 else 88  # log of the largest number
    return torch.where(x > 0, x.expm1() + 1, ((-x).clamp(-1, most).expm1() + 1).reciprocal())


def log(x: Tensor) -> Tensor:
    """The natural logarithm of x > 0, with an absolute error of 1e-7 in single precision."""
    mantissa, exponent = torch.frexp(x)  # x = mantissa · 2^exponent with a mantissa in [½, 1)
    return (mantissa - 1).log1p() + exponent.to(x.dtype) * math.log(2)


def sigmoid(x: Tensor) -> Tensor:
    """σ(x) = 1/(1 + e^−x), positive for every x, with a finite gradient."""
    if not Rule.portable:
        return x.clamp(min=-80).sigmoid()
    return ((-x).clamp(max=80).expm1() + 2).reciprocal()


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), finite for every finite x."""
    return -logsigmoid(-x)


def log_add_exp(a: Tensor, b: Tensor) -> Tensor:
    """log(e^a + e^b), for adding up weights whose logarithms are known. Not for two −inf."""
    if not Rule.portable:
        return torch.logaddexp(a, b)
    return torch.maximum(a, b) + exp(-(a - b).abs()).log1p()


def log_sum_exp(logs: Tensor, dim: int = -1) -> Tensor:
    """log Σ e^log over the first or the last dimension. Finite if any log is."""
    top = logs.amax(dim, keepdim=True).detach()
    return top.squeeze(dim) + ((logs - top).expm1() + 1).sum(dim).sub(1).log1p()


def log_mean_exp(logs: Tensor) -> Tensor:
    """The logarithm of the mean of e^log over the first dimension: [K, ...] → [...]."""
    if len(logs) == 1:  # this saves 3% of a small step
        return logs[0]
    return log_sum_exp(logs, 0) - math.log(len(logs))


def softmax(logs: Tensor) -> Tensor:
    """Weights over the first dimension that sum to 1, from their logarithms: [K, ...]."""
    weights = (logs - logs.amax(0)).expm1() + 1
    return weights / weights.sum(0)
