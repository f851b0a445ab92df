"""A decoder whose latents stand in groups, from the top down, and an encoder to infer them.

All latents have the prior N(0, 1). The decoder reads them group after group, and what a latent
means depends on the groups above it. Together they are the generative model of a ladder
(Sønderby et al. 2016, arXiv:1602.02282; Vahdat & Kautz 2020, arXiv:2007.03898; Child 2021,
arXiv:2011.10650). The posterior `ladder` follows the same order.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vae.model.architecture import Shape
from vae.model.networks import Network, check_setting
from vae.model.networks.conv import Block, channels_last, quarter

CONTEXT = 8  # numbers that the encoder gives for each latent
# Of the latents at first. At 1 their noise hides what the groups above say: after 470 steps, the
# validation ELBO of four groups without a top was −112.7, with 0.3 −109.9.
GAIN = 0.3


class Group(nn.Module):
    """A step down: adds what its latents say, one at each place, to the state [N, channels, h, w].

    `posterior` takes the state and what the encoder says, and gives the mean and the std of each
    latent: as the prior at first.
    """

    def __init__(self, channels: int, height: int, width: int):
        super().__init__()
        self.places = height, width
        self.size = height * width
        self.latents = nn.Conv2d(1, channels, 3, padding=1)
        self.latents.weight.data *= GAIN
        self.block = Block(channels)
        self.posterior = nn.Sequential(
            nn.Conv2d(channels + CONTEXT, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, 2, 1),
        )
        for parameter in self.posterior[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, state: Tensor, z: Tensor) -> Tensor:
        """z [N, size] → the state below."""
        return self.block(state + self.latents(z.view(-1, 1, *self.places)))

    def inferred(self, state: Tensor, context: Tensor) -> Tensor:
        """context [N, CONTEXT·size] → what a Gaussian posterior takes, [N, 2·size]."""
        context = context.view(-1, CONTEXT, *self.places)
        return self.posterior(torch.cat([state.relu(), context], 1)).flatten(1)


class Top(nn.Module):
    """The first group: its latents belong to no place, and there is no state above them."""

    def __init__(self, size: int, channels: int, height: int, width: int):
        super().__init__()
        self.size = size
        self.latents = nn.Sequential(
            nn.Linear(size, 8 * channels),
            nn.ReLU(),
            nn.Linear(8 * channels, channels * height * width),
            nn.Unflatten(1, (channels, height, width)),
        )
        self.block = Block(channels)
        self.posterior = nn.Sequential(nn.ReLU(), nn.Linear(CONTEXT * size, 2 * size))

    def forward(self, state: Tensor, z: Tensor) -> Tensor:
        return self.block(self.latents(z))

    def inferred(self, state: Tensor, context: Tensor) -> Tensor:
        return self.posterior(context)


Step = Top | Group


class TopDown(nn.Module):
    """The decoder: latents [N, latent], group after group, → [N, *shape]."""

    def __init__(self, top: int, groups: tuple[int, ...], channels: int, shape: Shape):
        super().__init__()
        (colours, height, width), c = quarter(shape), channels
        self.coarse = nn.ModuleList([Top(top, 2 * c, height, width)])
        self.coarse.extend(Group(2 * c, height, width) for _ in range(groups[0]))
        self.doubled = nn.Sequential(nn.Conv2d(2 * c, 4 * c, 3, padding=1), nn.PixelShuffle(2))
        self.fine = nn.ModuleList(Group(c, 2 * height, 2 * width) for _ in range(groups[1]))
        self.pixels = nn.Sequential(
            Block(c), nn.ReLU(), nn.Conv2d(c, 4 * colours, 3, padding=1), nn.PixelShuffle(2)
        )

    @property
    def steps(self) -> list[Step]:
        return [step for step in [*self.coarse, *self.fine] if isinstance(step, Step)]

    @property
    def sizes(self) -> list[int]:
        """How many latents each group has."""
        return [step.size for step in self.steps]

    def walk(self, latents: Callable[[int, Step, Tensor], Tensor]) -> Tensor:
        """→ the state above `pixels`. `latents` gives those of a group, [N, size], from its number,
        the group and the state above it.
        """
        state = torch.empty(0)  # above the top group, there is none
        for number, step in enumerate(self.steps):
            if number == len(self.coarse):
                state = self.doubled(state)
            state = step(state, latents(number, step, state))
        return state if self.fine else self.doubled(state)

    def forward(self, z: Tensor) -> Tensor:
        parts = z.split(self.sizes, -1)
        return self.pixels(self.walk(lambda number, step, state: parts[number]))


class BottomUp(nn.Module):
    """The encoder: images → CONTEXT numbers for each latent, group after group."""

    def __init__(self, top: int, groups: tuple[int, ...], channels: int, shape: Shape):
        super().__init__()
        (colours, height, width), c = quarter(shape), channels
        self.features = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(16 * colours, 2 * c, 3, padding=1),
            Block(2 * c),
            nn.ReLU(),
        )
        self.top = nn.Sequential(nn.Flatten(), nn.Linear(2 * c * height * width, CONTEXT * top))
        self.coarse = nn.Conv2d(2 * c, CONTEXT * groups[0], 1) if groups[0] else None
        self.fine = (
            nn.Sequential(
                nn.PixelUnshuffle(2), nn.Conv2d(4 * colours, CONTEXT * groups[1], 3, padding=1)
            )
            if groups[1]
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        features = self.features(x)
        outputs = [self.top(features)]
        if self.coarse:
            outputs.append(self.coarse(features).flatten(1))
        if self.fine:
            outputs.append(self.fine(x).flatten(1))
        return torch.cat(outputs, -1)


@dataclass(frozen=True)
class Levels(Network):
    """Of model.latent_dim latents, one stands at each place of each group. The others are the top
    group, which belongs to no place.
    """

    channels: int = 16  # of the feature maps at a half of the image's sides; at a quarter, twice
    groups: tuple[int, ...] = (2, 0)  # below the top: at a quarter and at a half of these sides

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(self.groups))  # JSON has lists
        check_setting("channels", self.channels)
        if len(self.groups) != 2 or not all(0 <= count <= 100 for count in self.groups):
            raise ValueError(
                f"groups = {list(self.groups)}: should be two numbers from 0 to 100, of groups at "
                f"a quarter and at a half of the image's sides"
            )

    def encoder(self, shape: Shape, outputs: int) -> nn.Module:
        top, left = self._top(shape, outputs // CONTEXT), outputs % CONTEXT
        if left or top < 1:
            raise ValueError(
                f"it needs model.posterior = 'ladder', and a model.latent_dim above "
                f"{-self._top(shape, 0)}: so many places have groups = {list(self.groups)}"
            )
        return channels_last(BottomUp(top, self.groups, self.channels, shape))

    def decoder(self, latent_dim: int, shape: Shape) -> nn.Module:
        top = self._top(shape, latent_dim)
        return channels_last(TopDown(top, self.groups, self.channels, shape))

    def _top(self, shape: Shape, latent_dim: int) -> int:
        """How many latents the top group has."""
        _, height, width = quarter(shape)
        return latent_dim - (self.groups[0] + 4 * self.groups[1]) * height * width
