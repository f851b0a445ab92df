"""Priors p(z): the standard Gaussian, and a mixture that is learned with the model.

Densities lack −½ log 2π a dimension, as the posterior's do, where it cancels.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from stages.densities import exp, log_sum_exp, normalized


class StandardPrior(nn.Module):
    """N(0, I)."""

    def __init__(self, latent_dim: int):
        super().__init__()

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z): [..., latent] → [...]."""
        return -0.5 * z.square().sum(-1)

    def log_prob_with_gradient(self, z: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """log p(z), and a function from the loss's gradient by it [...] to the one by z, which
        overwrites the `.grad` of the prior's parameters.
        """
        return self.log_prob(z), lambda by_log_prob: -z * by_log_prob.unsqueeze(-1)

    def sample(self, noise: Tensor, uniform: Tensor) -> Tensor:
        """z ~ p(z), [N, latent], from noise [N, latent] ~ N(0, 1) and uniform [N]."""
        return noise


class MixturePrior(nn.Module):
    """Σ_c π_c N(m_c, diag s_c²) with all of π, m and s learned; methods as the standard prior's."""

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
        linear = rows @ (self.means * precision).T - rows.square() @ (0.5 * precision).T
        logs = linear + (self.logits - constant)
        return (log_sum_exp(logs) - log_sum_exp(self.logits)).view(z.shape[:-1])

    def log_prob_with_gradient(self, z: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        parameters = list(self.parameters())
        with torch.inference_mode(False), torch.enable_grad():
            z = z.clone().requires_grad_()
            log_prob = self.log_prob(z)

        def backward(by_log_prob: Tensor) -> Tensor:
            with torch.inference_mode(False):
                by_z, *by_parameters = torch.autograd.grad(
                    log_prob, [z, *parameters], by_log_prob.clone()
                )
                for parameter, gradient in zip(parameters, by_parameters, strict=True):
                    parameter.grad.copy_(gradient)
            return by_z

        return log_prob.detach(), backward

    def sample(self, noise: Tensor, uniform: Tensor) -> Tensor:
        ends = normalized(self.logits).cumsum(0)
        component = torch.searchsorted(ends, uniform).clamp(max=len(ends) - 1)
        return self.means[component] + exp(self.log_stds[component]) * noise


PRIORS = {"standard": StandardPrior, "mixture": MixturePrior}
