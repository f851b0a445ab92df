"""Fully connected networks."""

import math
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from vae.model.architecture import Shape
from vae.model.networks import Network, check_setting
from vae.numerics import Linear


class Layers(nn.Sequential):
    """Linear layers with ReLU between them: [..., dims[0]] → [..., dims[-1]].

    residual: a hidden layer that is as wide as its input adds its input to its output.
    """

    def __init__(self, *dims: int, residual: bool = False):
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(dims):
            layers += [Linear(fan_in, fan_out), nn.ReLU()]
        super().__init__(*layers[:-1])
        self.skips = [residual and fan_in == fan_out for fan_in, fan_out in pairwise(dims[:-1])]

    def forward(self, x: Tensor) -> Tensor:
        *hidden, last = list(self)[::2]
        for linear, skips in zip(hidden, self.skips, strict=True):
            active = linear(x).relu()
            x = x + active if skips else active
        return last(x)


@dataclass(frozen=True)
class MLP(Network):
    hidden_dims: tuple[int, ...] = (512, 64)  # units of the encoder; the decoder mirrors them
    residual: bool = False  # hidden layers as wide as their input add it to their output

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden_dims", tuple(self.hidden_dims))  # JSON has lists
        if not 1 <= len(self.hidden_dims) <= 100:
            raise ValueError(f"hidden_dims has {len(self.hidden_dims)} layers: should be 1 to 100")
        for units in self.hidden_dims:
            check_setting("hidden_dims", units)

    def encoder(self, shape: Shape, outputs: int) -> nn.Module:
        layers = Layers(math.prod(shape), *self.hidden_dims, outputs, residual=self.residual)
        return nn.Sequential(nn.Flatten(), layers)

    def decoder(self, latent_dim: int, shape: Shape) -> nn.Module:
        dims = latent_dim, *reversed(self.hidden_dims), math.prod(shape)
        return nn.Sequential(Layers(*dims, residual=self.residual), nn.Unflatten(1, shape))
