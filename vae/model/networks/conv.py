"""Residual convolutional networks."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vae.model.architecture import Shape
from vae.model.networks import Network, check_setting


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


@dataclass(frozen=True)
class Conv(Network):
    """Convolutions work where they cost least: the encoder cuts the image into patches of 4×4
    pixels, and the decoder doubles its size by channels that become pixels (Shi et al. 2016,
    arXiv:1609.05158), with most of its channels at a quarter of the image's height and width.
    """

    channels: int = 16  # channels of the largest feature maps

    def __post_init__(self) -> None:
        check_setting("channels", self.channels)

    def encoder(self, shape: Shape, outputs: int) -> nn.Module:
        (colours, height, width), c = quarter(shape), self.channels
        network = nn.Sequential(
            nn.PixelUnshuffle(4),  # [N, 16·colours, height, width]
            nn.Conv2d(16 * colours, 2 * c, 3, padding=1),
            Block(2 * c),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * c * height * width, 16 * c),
            nn.ReLU(),
            nn.Linear(16 * c, outputs),
        )
        return channels_last(network)

    def decoder(self, latent_dim: int, shape: Shape) -> nn.Module:
        (colours, height, width), c = quarter(shape), self.channels
        network = nn.Sequential(
            nn.Linear(latent_dim, 16 * c),
            nn.ReLU(),
            nn.Linear(16 * c, 2 * c * height * width),
            nn.Unflatten(1, (2 * c, height, width)),
            Block(2 * c),
            nn.ReLU(),
            nn.Conv2d(2 * c, 4 * c, 3, padding=1),
            nn.PixelShuffle(2),  # [N, c, 2·height, 2·width]
            Block(c),
            nn.ReLU(),
            nn.Conv2d(c, 4 * colours, 3, padding=1),
            nn.PixelShuffle(2),
        )
        return channels_last(network)


def quarter(shape: Shape) -> Shape:
    """The channels of an image, and a quarter of its height and of its width."""
    channels, height, width = shape
    if height % 4 or width % 4:
        raise ValueError(f"images of {height}×{width} pixels: their sides should be multiples of 4")
    return channels, height // 4, width // 4


def channels_last(network: nn.Module) -> nn.Module:
    """The network, with the channels of a weight side by side in memory, and so those of the
    feature maps: a native step of 128 images takes 1/1.07 of the time (benchmarks/choices.py at
    commit ee92564).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight.detach().contiguous(memory_format=torch.channels_last)
            module.weight = nn.Parameter(weight)
    return network
