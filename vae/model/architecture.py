"""What a model consists of: `model` in params.yaml, and in the metadata of the model's file."""

from dataclasses import dataclass
from pkgutil import resolve_name

from vae.model import NETWORKS, POSTERIORS, PRIORS

PIXELS = 28 * 28


@dataclass(frozen=True)
class Architecture:
    """Raises ValueError if one of the names is unknown."""

    hidden_dims: tuple[int, ...]  # mlp: units of the encoder's hidden layers
    latent_dim: int
    posterior: str
    prior: str = "standard"
    residual: bool = False  # mlp: hidden layers as wide as their input add it to their output
    network: str = "mlp"
    channels: int = 16  # conv: of its largest feature maps

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden_dims", tuple(self.hidden_dims))  # JSON has lists
        for kind, name, known in [
            ("network", self.network, NETWORKS),
            ("posterior", self.posterior, POSTERIORS),
            ("prior", self.prior, PRIORS),
        ]:
            if name not in known:
                raise ValueError(f"unknown {kind} {name!r} (known: {', '.join(known)})")

    @property
    def outputs(self) -> int:
        """How many numbers the encoder gives for an image: as many as the posterior takes."""
        return resolve_name(POSTERIORS[self.posterior]).outputs(self.latent_dim)
