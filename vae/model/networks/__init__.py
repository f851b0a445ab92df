"""Encoders and decoders, and the settings of each."""

from abc import ABC, abstractmethod

from torch import nn

from vae.model.architecture import Shape


class Network(ABC):
    """A dataclass whose fields are the network's settings, each with a default.

    Both methods raise ValueError if the network does not fit such images.
    """

    @abstractmethod
    def encoder(self, shape: Shape, outputs: int) -> nn.Module:
        """A module from float images in [0, 1], [N, *shape], to [N, outputs]."""

    @abstractmethod
    def decoder(self, latent_dim: int, shape: Shape) -> nn.Module:
        """A module from latents [N, latent_dim] to [N, *shape]: what the likelihood takes, which
        may be several numbers for each channel of an image.
        """


def check_setting(name: str, value: int) -> None:
    """Raises ValueError unless a size of a layer can be served."""
    if not 1 <= value <= 10**6:
        raise ValueError(f"{name} = {value}: should be 1 to 1,000,000")
