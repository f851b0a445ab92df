"""Networks with what the project's own have not."""

import math
from dataclasses import dataclass

from torch import nn

from vae.model.networks import Network


@dataclass(frozen=True)
class Dropping(Network):
    """It has a randomness of its own."""

    def encoder(self, shape, outputs):
        layers = nn.Linear(math.prod(shape), 64), nn.Dropout(0.5), nn.Linear(64, outputs)
        return nn.Sequential(nn.Flatten(), *layers)

    def decoder(self, latent_dim, shape):
        return nn.Sequential(nn.Linear(latent_dim, math.prod(shape)), nn.Unflatten(1, shape))


@dataclass(frozen=True)
class Averaging(Dropping):
    """It keeps averages of whole batches."""

    def encoder(self, shape, outputs):
        return super().encoder(shape, outputs).append(nn.BatchNorm1d(outputs))


@dataclass(frozen=True)
class Tied(Dropping):
    """It uses a layer twice."""

    def encoder(self, shape, outputs):
        twice = nn.Linear(64, 64)
        layers = nn.Linear(math.prod(shape), 64), twice, nn.ReLU(), twice, nn.Linear(64, outputs)
        return nn.Sequential(nn.Flatten(), *layers)
