"""Fully connected networks."""

from itertools import pairwise

from torch import Tensor, nn

from vae.model.architecture import PIXELS, Architecture
from vae.model.products import Linear


class MLP(nn.Sequential):
    """Linear layers with ReLU between them: [N, dims[0]] → [N, dims[-1]].

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


def mlp(a: Architecture) -> tuple[MLP, MLP]:
    """Encoder [N, 784] → [N, outputs] and, its mirror image, decoder [N, latent] → [N, 784]."""
    encoder = MLP(PIXELS, *a.hidden_dims, a.outputs, residual=a.residual)
    decoder = MLP(a.latent_dim, *reversed(a.hidden_dims), PIXELS, residual=a.residual)
    return encoder, decoder
