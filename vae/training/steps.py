"""Computes one training step. The loop (loop.py) does not depend on how."""

from collections.abc import Callable
from pkgutil import resolve_name

import torch
from torch import Tensor
from tqdm import tqdm

from vae.model import OBJECTIVES
from vae.model.objectives import loss
from vae.model.vae import VAE
from vae.training.optimizer import AdamW
from vae.training.settings import Settings


class Plain:
    """The gradient of the whole batch, at once."""

    def __init__(self, model: VAE, optimizer: AdamW, settings: Settings):
        self.model, self.optimizer = model, optimizer
        self.batch_size, self.draws = settings.batch_size, settings.importance_samples
        self.loss: Callable[..., tuple[Tensor, Tensor]] = loss
        self.options = {
            "objective": resolve_name(OBJECTIVES[settings.objective]),
            "kl_weight": settings.kl_weight,
            "gradient": settings.gradient,
        }

    def epoch(
        self, pixels: Tensor, stream: torch.Generator, rates: Tensor, progress: Tensor
    ) -> Tensor:
        """A step for each batch of the images, in order, with noise from `stream`.

        pixels are levels, uint8 [N, C, H, W]; the learning rate of each step, and the share of
        training that is done before it, are [steps]. → reconstruction and KL, [2, N], in nats,
        each image's under the model before its step.
        """
        batches = tqdm(pixels.split(self.batch_size), unit="step", leave=False, disable=None)
        terms = []
        for batch, rate, done in zip(batches, rates.unbind(), progress.unbind(), strict=True):
            shape = self.draws, len(batch), self.model.architecture.latent_dim
            noise = torch.randn(shape, device=stream.device, generator=stream)
            terms.append(self(batch, noise, rate, done))
        return torch.cat(terms, 1)

    def __call__(self, pixels: Tensor, noise: Tensor, rate: Tensor, progress: Tensor) -> Tensor:
        """One step. The learning rate and the progress have no dimensions. → [2, N]."""
        self.optimizer.zero_grad()
        x = self.model.scaled(pixels)
        value, terms = self.loss(self.model, x, noise, progress, **self.options)
        value.backward()
        self.optimizer.step(rate)
        return terms
