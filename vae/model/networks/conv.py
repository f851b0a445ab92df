"""Residual convolutional networks."""

import torch
from torch import Tensor, nn

from vae.model.architecture import Architecture


class Block(nn.Module):
    """Adds two convolutions of its input to it: [N, C, H, W] → [N, C, H, W].

    It is the identity at first, as its second convolution starts at zero.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x.relu()).relu())


def conv(a: Architecture) -> tuple[nn.Module, nn.Module]:
    """Encoder [N, 784] → [N, outputs] and decoder [N, latent] → [N, 784].

    Convolutions work where they cost least: the encoder cuts the image into 7×7 patches of 4×4
    pixels, and the decoder doubles its size by channels that become pixels (Shi et al. 2016,
    arXiv:1609.05158), with most of its channels at 7×7. Weights are stored with channels side by
    side, and so are the feature maps: `python -m benchmarks.choices` prints what that saves.
    """
    c, units = a.channels, 16 * a.channels
    encoder = nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.PixelUnshuffle(4),  # [N, 16, 7, 7]
        nn.Conv2d(16, 2 * c, 3, padding=1),  # [N, 2c, 7, 7]
        Block(2 * c),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * c * 7 * 7, units),
        nn.ReLU(),
        nn.Linear(units, a.outputs),
    )
    decoder = nn.Sequential(
        nn.Linear(a.latent_dim, units),
        nn.ReLU(),
        nn.Linear(units, 2 * c * 7 * 7),
        nn.Unflatten(1, (2 * c, 7, 7)),
        Block(2 * c),
        nn.ReLU(),
        nn.Conv2d(2 * c, 4 * c, 3, padding=1),
        nn.PixelShuffle(2),  # [N, c, 14, 14]
        Block(c),
        nn.ReLU(),
        nn.Conv2d(c, 4, 3, padding=1),
        nn.PixelShuffle(2),  # [N, 1, 28, 28]
        nn.Flatten(),
    )
    for module in [*encoder.modules(), *decoder.modules()]:
        if isinstance(module, nn.Conv2d):
            weight = module.weight.detach().contiguous(memory_format=torch.channels_last)
            module.weight = nn.Parameter(weight)
    return encoder, decoder
