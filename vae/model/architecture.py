"""What a model consists of. Its file holds this as JSON."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name

from vae.model import LIKELIHOODS, NETWORKS, POSTERIORS, PRIORS

Shape = tuple[int, int, int]  # an image's channels, height and width


@dataclass(frozen=True)
class Architecture:
    """Raises ValueError if one of the names is unknown."""

    shape: Shape  # the images' shape
    latent_dim: int
    network: str = "mlp"
    settings: Mapping[str, object] = field(default_factory=dict)  # the network's settings
    likelihood: str = "bernoulli"
    posterior: str = "gaussian"
    prior: str = "standard"
    classes: int = 0  # of a conditional model; 0: it does not know the images' classes

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))  # JSON has lists
        for kind, name, known in [
            ("network", self.network, NETWORKS),
            ("likelihood", self.likelihood, LIKELIHOODS),
            ("posterior", self.posterior, POSTERIORS),
            ("prior", self.prior, PRIORS),
        ]:
            if name not in known:
                raise ValueError(f"unknown {kind} {name!r} (known: {', '.join(known)})")

    @property
    def pixels(self) -> int:
        """Numbers in an image, of all its channels."""
        return math.prod(self.shape)

    @property
    def encoder_outputs(self) -> int:
        """How many numbers the encoder gives for an image: as many as the posterior takes."""
        return resolve_name(POSTERIORS[self.posterior]).outputs(self.latent_dim)
