"""The variational autoencoder: encoder, decoder and prior, and its file.

p(z) is the prior (vae/model/priors.py). p(x|z) is Bernoulli with logits from the decoder. The head
(vae/model/posteriors.py) turns the encoder's outputs into q(z|x). Kingma & Welling 2014
(arXiv:1312.6114).
"""

import json
import math
from dataclasses import asdict
from pathlib import Path
from pkgutil import resolve_name

import torch
from torch import Tensor, nn

from vae.common.errors import UserError
from vae.common.files import load_tensors, save_tensors
from vae.common.threads import adapt_threads
from vae.model import NETWORKS, POSTERIORS, PRIORS
from vae.model.architecture import PIXELS, Architecture
from vae.model.densities import Density, log_add_exp
from vae.model.objectives import log_weights


class VAE(nn.Module):
    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        self.dataset = ""  # the data it was trained on, and how that was binarized
        self.binarization = ""
        self.precision = torch.float32  # of the networks' products
        self.encoder, self.decoder = resolve_name(NETWORKS[architecture.network])(architecture)
        self.head = resolve_name(POSTERIORS[architecture.posterior])(architecture.latent_dim)
        self.prior = resolve_name(PRIORS[architecture.prior])(architecture.latent_dim)

    def posterior(self, x: Tensor) -> Density:
        """q(z|x) of float images in {0, 1}, [N, 784]."""
        return self.head(self._run(self.encoder, x))

    def decode(self, z: Tensor) -> Tensor:
        """p(x|z): latents [..., latent] → logits of the pixels [..., 784].

        Raises ValueError if the latents have another dimension.
        """
        latent = self.architecture.latent_dim
        if z.shape[-1:] != (latent,):
            raise ValueError(f"latents of shape {tuple(z.shape)}: should be [..., {latent}]")
        return self._run(self.decoder, z.reshape(-1, latent)).view(*z.shape[:-1], PIXELS)

    def _run(self, network: nn.Module, inputs: Tensor) -> Tensor:
        if self.precision == torch.float32:
            return network(inputs)
        with torch.autocast(inputs.device.type, self.precision):
            return network(inputs).float()

    def encode(self, images: Tensor) -> Density:
        """q(z|x) of images in {0, 1}, [N, 784] or [N, 28, 28], as `posterior` gives it.

        Raises ValueError for anything else.
        """
        return self.posterior(self.rows(images))

    def rows(self, images: Tensor) -> Tensor:
        """Images as `encode` takes them → float [N, 784]. Raises ValueError as it does."""
        try:
            images = torch.as_tensor(images, device=next(self.parameters()).device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"no array of images: {error}") from None
        if images.is_complex():
            raise ValueError("images are complex: should be 0 or 1")
        if images.shape[1:] not in ((28, 28), (PIXELS,)):
            raise ValueError(
                f"images of shape {tuple(images.shape)}: should be [N, 28, 28] or [N, {PIXELS}]"
            )
        x = images.flatten(1).float()
        wrong = x[(x != 0) & (x != 1)]
        if len(wrong):
            raise ValueError(
                f"a pixel is {wrong[0]:g}: should be 0 or 1, as in the model's training images "
                f"(binarization: {self.binarization or 'unknown'})"
            )
        return x

    @torch.no_grad()
    def reconstruct(self, images: Tensor) -> Tensor:
        """Images as `encode` takes them → pixel probabilities [N, 28, 28] at the posterior's
        center, which is its mean if it is a Gaussian.
        """
        return probabilities(self.decode(self.encode(images).center))

    @torch.no_grad()
    def log_likelihood(
        self, images: Tensor, draws: int = 500, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images as `encode` takes them → the importance-weighted bound on each one's log p(x) with
        so many draws, [N] in nats (Burda et al. 2016, eq. 8). `vae.evaluation.bounds` adds errors.
        """
        if draws < 1:
            raise ValueError(f"draws = {draws}: should be at least 1")
        x = self.rows(images)
        q = self.posterior(x)
        shape = len(x), self.architecture.latent_dim
        bound = torch.full((len(x),), -math.inf, dtype=torch.float64)
        for _ in range(draws):
            z = q.draw(torch.randn(shape, generator=generator, device=x.device))
            reconstruction, kl = log_weights(self, x, q, z)
            bound = log_add_exp(bound, (reconstruction - kl).cpu().double())
        return bound - math.log(draws)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """`count` new images from the prior: pixel probabilities [count, 28, 28]. Raises ValueError
        if it is negative.
        """
        if count < 0:
            raise ValueError(f"count = {count}: should not be negative")
        device = next(self.parameters()).device
        rows = max(count, 32)  # products of fewer rows differ between processors
        adapt_threads(rows)
        shape = rows, self.architecture.latent_dim
        noise = torch.randn(shape, generator=generator, device=device)
        z = self.prior.sample(noise, torch.rand(rows, generator=generator, device=device))
        return probabilities(self.decode(z))[:count]

    def save(self, path: str | Path) -> None:
        """Writes the weights, with the architecture in the metadata: `load` needs nothing else."""
        metadata = {
            "architecture": json.dumps(asdict(self.architecture)),
            "dataset": self.dataset,
            "binarization": self.binarization,
        }
        save_tensors(path, self.state_dict(), metadata)

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> "VAE":
        """Reads a model that `save` wrote. Raises UserError if the file is not such a model."""
        tensors, metadata = load_tensors(path)
        try:
            architecture = Architecture(**json.loads(metadata["architecture"]))
            check_shapes(architecture, tensors)
            model = cls(architecture)
            model.dataset = metadata["dataset"]
            model.binarization = metadata["binarization"]
            model.load_state_dict(tensors)
            if not all(tensor.isfinite().all() for tensor in tensors.values()):
                raise ValueError("some of its weights are not finite")
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{path} does not hold a VAE of this project ({reason}).\n"
                f"Delete it and train again: dvc repro"
            ) from None
        return model.to(device).eval()


def check_shapes(architecture: Architecture, tensors: dict[str, Tensor]) -> None:
    """Raises ValueError if the tensors do not have the shapes of the architecture's weights.

    A damaged file may claim an architecture larger than this machine's memory. The device `meta`
    builds it without any.
    """
    try:
        with torch.device("meta"):
            claimed = VAE(architecture).state_dict()
    except (NotImplementedError, RuntimeError):  # a network that computes while it is built
        return
    shapes = [{name: its.shape for name, its in state.items()} for state in (claimed, tensors)]
    if shapes[0] != shapes[1]:
        raise ValueError("its weights do not have the shapes of its architecture")


def probabilities(logits: Tensor) -> Tensor:
    """Logits [..., 784] → the pixels' probabilities of being 1, [..., 28, 28]."""
    return (0.5 + 0.5 * (logits / 2).tanh()).unflatten(-1, (28, 28))  # σ(logits)
