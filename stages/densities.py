"""Logarithms of densities as pure functions of tensors, in nats.

Only operations whose bits are the same on every x86-64 processor are used: torch's own exp, log,
sqrt, sigmoid, softplus, softmax and logsumexp are not among them; tanh, expm1, log1p and sums over
the first or last dimension are (tests/test_bits.py).
"""

import torch
from torch import Tensor


def exp(x: Tensor) -> Tensor:
    """e^x as accurate as torch.exp, from expm1 (see the top of the file)."""
    return torch.where(x > 0, x.expm1() + 1, ((-x).expm1() + 1).reciprocal())


def bernoulli(x: Tensor, logits: Tensor) -> Tensor:
    """log p(x|z) = Σ x·l − softplus(l): x in {0, 1} and logits, both [..., 784] → [...] in nats.

    Finite for any finite logits. Overwrites them, hence not for autograd.
    """
    return _bernoulli(x, logits, logits.abs().neg_().expm1_().add_(2))


def bernoulli_and_gradient(x: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """`bernoulli`, and its gradient by the logits, x − σ(l), [..., 784]."""
    e = logits.abs().neg_().expm1_()  # σ(|l|) = 1/(2 + e) = (1 − e/(2 + e))/2
    factors = e + 2
    residual = torch.add(x, e.div_(factors).copysign_(logits), alpha=-0.5).sub_(0.5)
    return _bernoulli(x, logits, factors), residual


def _bernoulli(x: Tensor, logits: Tensor, factors: Tensor) -> Tensor:
    """`bernoulli` from factors = 1 + e^−|l|: softplus(l) is max(l, 0) + log(factor). As they are in
    [1, 2], 16 of them are multiplied before the logarithm. Overwrites logits and factors: memory
    anew would cost as much time as the arithmetic.
    """
    for _ in range(4):
        left, right = factors.chunk(2, dim=-1)
        factors = left.mul_(right)
    log_factors = factors.sub_(1).log1p_().sum(-1)
    return (x * logits).sub_(logits.relu_()).sum(-1).sub_(log_factors)


def gaussian_kl(mean: Tensor, std: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, std²) ‖ N(0, I)) over the last dimension, in nats (Kingma & Welling, app. B)."""
    return (0.5 * (mean.square() + std.square()) - log_std).sum(-1) - 0.5 * mean.shape[-1]


def log_add_exp(a: Tensor, b: Tensor) -> Tensor:
    """log(e^a + e^b), for adding up weights whose logarithms are known. Not for two −inf."""
    return torch.maximum(a, b) + exp(-(a - b).abs()).log1p()


def log_sum_exp(logs: Tensor) -> Tensor:
    """log Σ e^log over the last dimension: [..., C] → [...]. Finite if any log is."""
    top = logs.amax(-1, keepdim=True).detach()
    return top.squeeze(-1) + ((logs - top).expm1() + 1).sum(-1).sub(1).log1p()


def normalized(log_weights: Tensor) -> Tensor:
    """Weights over the first dimension, [K, ...], that sum to 1, from their logarithms."""
    weights = (log_weights - log_weights.amax(0)).expm1_().add_(1)
    return weights / weights.sum(0)
