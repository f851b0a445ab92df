"""How a step of training is computed. The loop says what an epoch is, and knows none of this."""

from pkgutil import resolve_name
from typing import Protocol

import torch
from torch import Tensor

from vae.model import OBJECTIVES
from vae.model.objectives import loss
from vae.model.vae import VAE
from vae.training.optimizer import AdamW
from vae.training.settings import Settings


class Step(Protocol):
    def __call__(
        self, pixels: Tensor, noise: Tensor, learning_rate: float, progress: Tensor
    ) -> Tensor:
        """One step of training on levels, uint8 [N, C, H, W], with noise [K, N, latent].

        `progress` is the share of training that is done. → reconstruction and KL, [2, N], in nats,
        under the model before the step.
        """


class Plain:
    """The gradient of the whole batch, at once."""

    def __init__(self, model: VAE, optimizer: AdamW, settings: Settings):
        self.model, self.optimizer = model, optimizer
        self.options = {
            "objective": resolve_name(OBJECTIVES[settings.objective]),
            "kl_weight": settings.kl_weight,
            "gradient": settings.gradient,
        }

    def __call__(
        self, pixels: Tensor, noise: Tensor, learning_rate: float, progress: Tensor
    ) -> Tensor:
        self.optimizer.zero_grad()
        x = self.model.scaled(pixels)
        value, *terms = loss(self.model, x, noise, progress, **self.options)
        value.backward()
        self.optimizer.step(learning_rate)
        return torch.stack(terms)
