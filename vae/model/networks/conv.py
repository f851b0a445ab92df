"""Residual convolutional networks."""

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
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x.relu()).relu())


def conv(a: Architecture) -> tuple[nn.Module, nn.Module]:
    """Encoder [N, 784] → [N, 2·latent] and, its mirror image, decoder [N, latent] → [N, 784]."""
    c, units = a.channels, 16 * a.channels
    encoder = nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, c, 5, stride=2, padding=2),  # [N, c, 14, 14]
        Block(c),
        nn.ReLU(),
        nn.Conv2d(c, 2 * c, 3, stride=2, padding=1),  # [N, 2c, 7, 7]
        Block(2 * c),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * c * 7 * 7, units),
        nn.ReLU(),
        nn.Linear(units, 2 * a.latent_dim),
    )
    decoder = nn.Sequential(
        nn.Linear(a.latent_dim, units),
        nn.ReLU(),
        nn.Linear(units, 2 * c * 7 * 7),
        nn.Unflatten(1, (2 * c, 7, 7)),
        Block(2 * c),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * c, c, 4, stride=2, padding=1),  # [N, c, 14, 14]
        Block(c),
        nn.ReLU(),
        nn.ConvTranspose2d(c, 1, 4, stride=2, padding=1),  # [N, 1, 28, 28]
        nn.Flatten(),
    )
    return encoder, decoder
