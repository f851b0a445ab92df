"""The variational autoencoder: encoder, decoder and prior, and its file.

p(z) is the prior (vae/model/priors.py). p(x|z) is the likelihood (vae/model/likelihoods.py), whose
parameters the decoder gives. The head (vae/model/posteriors.py) turns the encoder's outputs into
q(z|x). Kingma & Welling 2014 (arXiv:1312.6114).
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from pkgutil import resolve_name

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from vae.errors import UserError, in_short
from vae.files import load_tensors, save_tensors
from vae.model import LIKELIHOODS, NETWORKS, POSTERIORS, PRIORS
from vae.model.architecture import Architecture
from vae.model.classes import Classes, labelled
from vae.model.densities import Density
from vae.model.likelihoods import Likelihood
from vae.numerics import govern, log_mean_exp, share_processors


class VAE(nn.Module):
    """Raises ValueError if the network does not fit images of the architecture's shape."""

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = a = architecture
        self.dataset = ""  # the data it was trained on, and how that was binarized
        self.binarization = ""
        self.precision = torch.float32  # what the networks' products are computed in
        self.likelihood: Likelihood = resolve_name(LIKELIHOODS[a.likelihood])()
        network = resolve_name(NETWORKS[a.network])(**a.settings)
        channels, height, width = a.shape
        self.encoder = network.encoder(a.shape, a.encoder_outputs)
        decoded = self.likelihood.outputs * channels, height, width
        self.decoder = network.decoder(self.decoded, decoded)
        self.head = resolve_name(POSTERIORS[a.posterior])(a.latent_dim)
        self.head.follow(self.decoder, self._run)
        self.prior = resolve_name(PRIORS[a.prior])(a.latent_dim)
        self.classes = Classes(a.classes, a.encoder_outputs) if a.classes else None
        self.prior.follow(self)
        for part in self.networks:
            govern(part)

    @property
    def networks(self) -> list[nn.Module]:
        return [self.encoder, self.head, self.decoder, *([self.classes] if self.classes else [])]

    @property
    def decoded(self) -> int:
        """How many numbers the decoder takes: the latents, and one for each class that is known."""
        return self.architecture.latent_dim + self.architecture.classes

    @property
    def groups(self) -> list[int]:
        """How many latents stand in each group, of those that the decoder takes one after another:
        in one group, if it takes all at once.
        """
        return getattr(self.decoder, "sizes", [self.architecture.latent_dim])

    @property
    def numbers(self) -> int:
        """How many numbers the decoder gives for an image."""
        return self.likelihood.outputs * self.architecture.pixels

    def posterior(self, x: Tensor) -> Density:
        """q(z|x) of float images in [0, 1], [N, C, H, W]; of a conditional model q(z|x, y), and x
        is [N, C + 1, H, W], as `labelled` makes it. `elbo_terms` and `log_weights` take the same x.
        """
        if self.classes is None:
            return self.head(self._run(self.encoder, x))
        images, labels = self.classes.split(x)
        return self.head(self._run(self.encoder, images) + self.classes.outputs(labels))

    def labelled(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Images, [N, C, H, W], as the model takes them: with their classes, if it is conditional.
        Raises UserError if it was not trained with one of these.
        """
        if self.classes is None:
            return pixels
        if (largest := int(labels.max())) >= self.classes.count:
            raise UserError(
                f"an image is of class {largest}, and the training images are of the classes 0 to "
                f"{self.classes.count - 1}.\nSet model.conditional to false, or prepare.seed to "
                f"another split"
            )
        return labelled(pixels, labels)

    @torch.no_grad()
    def with_classes(self, z: Tensor, labels: ArrayLike | None) -> Tensor:
        """Latents [..., N, latent] as the decoder takes them: in a conditional model with their
        classes, labels [N], beside them: [..., N, latent + classes]. Raises ValueError if there
        are no such classes, or not N labels.
        """
        if self.classes is None:
            return z
        return self.classes.beside(
            z.to(self._weight.device), self.classes.checked(labels, z.shape[-2])
        )

    def outputs(self, z: Tensor, q: Density | None = None) -> Tensor:
        """p(x|z) as the likelihood's parameters: latents [..., latent] → [..., outputs·C, H, W].
        q: what they are drawn from.
        """
        decoder = q.decoding(self.decoder, z) if q else self.decoder
        x = self._run(decoder, z.reshape(-1, z.shape[-1]))
        return x.view(*z.shape[:-1], *x.shape[1:])

    def _run(self, network: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        share_processors()
        if self.precision == torch.float32:
            return network(inputs)
        with torch.autocast(inputs.device.type, self.precision):
            return network(inputs).float()

    def elbo_terms(self, x: Tensor, q: Density, z: Tensor) -> tuple[Tensor, Tensor]:
        """Both parts of the ELBO: log p(x|z) at the draws, and the KL of q to the prior, [..., N]
        each, in nats.

        x [N, C, H, W]; q is q(z|x); z are draws of it, [..., N, latent]. The KL is exact where the
        prior has it in closed form, and else log q(z|x) − log p(z) at the draws.
        """
        return self._log_prob(x, q, z), self.prior.kl(q, z)

    def log_weights(self, x: Tensor, q: Density, z: Tensor) -> tuple[Tensor, Tensor]:
        """Both parts of log w = log p(x|z) − log q(z|x)/p(z) at the draws, [..., N] each. The
        logarithm of the mean of K weights is a bound on log p(x) (vae/model/objectives.py).
        """
        log_ratio = q.log_prob(z) - self.prior.log_prob(z)
        return self._log_prob(x, q, z), log_ratio

    def _log_prob(self, x: Tensor, q: Density, z: Tensor) -> Tensor:
        """log p(x|z), [..., N]; of a conditional model log p(x|z, y)."""
        if self.classes:
            x, labels = self.classes.split(x)
            z = self.classes.beside(z, labels)
        return self.likelihood.log_prob(x, self.outputs(z, q))

    @torch.no_grad()
    def encode(self, images: ArrayLike, labels: ArrayLike | None = None) -> Density:
        """q(z|x) of images [N, C, H, W], [N, C·H·W] or, in one channel, [N, H, W]: integers from 0
        to the highest level, or floats in [0, 1], as torchvision gives them. A conditional model,
        and no other, takes their classes as well: labels [N].

        Raises ValueError for anything else.
        """
        return self.posterior(self.inputs(images, labels)).detach()

    @torch.no_grad()
    def decode(self, z: ArrayLike) -> Tensor:
        """Latents [..., latent] → the parameters of p(x|z), [..., outputs·C, H, W]: logits if it is
        Bernoulli. A conditional model takes latents `with_classes`.

        Raises ValueError if the latents have another dimension.
        """
        z = torch.as_tensor(z, device=self._weight.device).to(self._weight.dtype)
        if z.shape[-1:] != (self.decoded,):
            raise ValueError(f"latents of shape {tuple(z.shape)}: should be [..., {self.decoded}]")
        return self.outputs(z)

    def mean_images(self, z: ArrayLike) -> Tensor:
        """Latents [..., latent] → the means of p(x|z), [..., C, H, W] in [0, 1]."""
        return self.likelihood.mean(self.decode(z))

    def scaled(self, pixels: Tensor) -> Tensor:
        """Levels, uint8 → what the model takes: float32 in [0, 1]."""
        top, x = self.likelihood.levels - 1, pixels.to(torch.float32, copy=True)
        if top > 1:
            x[:, : self.architecture.shape[0]] /= top
        return x

    def inputs(self, images: ArrayLike, labels: ArrayLike | None = None) -> Tensor:
        """Images as `encode` takes them → float [N, C, H, W] in [0, 1], with another channel in a
        conditional model. Raises as it does.
        """
        shape, top = self.architecture.shape, self.likelihood.levels - 1
        try:
            images = torch.as_tensor(images, device=self._weight.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"no array of images: {error}") from None
        if images.is_complex():
            raise ValueError("images are complex: should be real")
        shapes = [shape, (self.architecture.pixels,), *([shape[1:]] if shape[0] == 1 else [])]
        if images.shape[1:] not in shapes:
            allowed = " or ".join(f"[N, {', '.join(map(str, its))}]" for its in shapes)
            raise ValueError(f"images of shape {tuple(images.shape)}: should be {allowed}")
        x = images.reshape(-1, *shape).to(self._weight.dtype)
        x = x * top if images.is_floating_point() else x
        level = x.round()
        wrong = x[~((x - level).abs() < 0.1) | (level < 0) | (level > top)]
        if len(wrong):
            value = wrong[0] / top if images.is_floating_point() else wrong[0]
            raise ValueError(
                f"a pixel is {value:g}: should be one of {top + 1} levels, an integer from 0 to "
                f"{top} or a float in [0, 1], as in the model's training images (binarization: "
                f"{self.binarization or 'unknown'})"
            )
        x = level / top
        if self.classes:
            return labelled(x, self.classes.checked(labels, len(x)))
        if labels is not None:
            raise ValueError("a model that is not conditional takes no labels")
        return x

    def reconstruct(self, images: ArrayLike, labels: ArrayLike | None = None) -> Tensor:
        """Images as `encode` takes them → mean images [N, C, H, W] at the posterior's center, which
        is its mean if it is a Gaussian.
        """
        return self.mean_images(self.with_classes(self.encode(images, labels).center, labels))

    @torch.no_grad()
    def log_likelihood(
        self,
        images: ArrayLike,
        draws: int = 500,
        generator: torch.Generator | None = None,
        labels: ArrayLike | None = None,
    ) -> Tensor:
        """Images as `encode` takes them → the importance-weighted bound with so many draws on each
        one's log p(x), [N] in nats (Burda et al. 2016, eq. 8). Of a conditional model it is on
        log p(x|y). `vae.evaluation.bounds` adds errors.
        """
        if draws < 1:
            raise ValueError(f"draws = {draws}: should be at least 1")
        x = self.inputs(images, labels)
        q = self.posterior(x)
        shape = len(x), self.architecture.latent_dim
        weights = []
        for _ in range(draws):  # one at a time: all draws of a large network need much memory
            z = q.draw(torch.randn(shape, generator=generator, device=x.device).to(x.dtype))
            reconstruction, kl = self.log_weights(x, q, z)
            weights.append(reconstruction - kl)
        return log_mean_exp(torch.stack(weights).cpu().double())

    @torch.no_grad()
    def sample(
        self,
        count: int,
        generator: torch.Generator | None = None,
        pixels: bool = False,
        labels: ArrayLike | None = None,
    ) -> Tensor:
        """`count` new images from the prior, [count, C, H, W]: the likelihood's mean in [0, 1] or,
        with `pixels`, a draw. Those of a conditional model are of the classes `labels`, [count] or,
        if these are not given, of each class in turn. Raises ValueError if the count is negative.
        """
        if count < 0:
            raise ValueError(f"count = {count}: should not be negative")
        device = self._weight.device
        rows = max(count, 32)  # for the same images if there are fewer
        noise = torch.randn(rows, self.architecture.latent_dim, generator=generator, device=device)
        z = self.prior.sample(noise, torch.rand(rows, generator=generator, device=device))
        z = z.to(self._weight.dtype)
        if self.classes:
            turns = torch.arange(rows, device=device) % self.classes.count
            if labels is not None:
                turns[:count] = self.classes.checked(labels, count)
            z = self.classes.beside(z, turns)
        elif labels is not None:
            raise ValueError("a model that is not conditional takes no labels")
        outputs = self.outputs(z)[:count]
        if pixels:
            return self.likelihood.draw(outputs, generator)
        return self.likelihood.mean(outputs)

    @property
    def _weight(self) -> Tensor:
        return next(self.parameters())

    def save(self, path: str | Path) -> None:
        """Writes the weights, with the architecture in the metadata: `load` needs nothing else."""
        described = asdict(self.architecture)
        if not self.architecture.classes:  # as in the files of versions that had none
            del described["classes"]
        metadata = {
            "architecture": json.dumps(described),
            "dataset": self.dataset,
            "binarization": self.binarization,
        }
        save_tensors(path, self.state_dict(), metadata)

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> "VAE":
        """Reads a model that `save` wrote. Raises UserError if the file is not such a model."""
        tensors, metadata = load_tensors(path)
        try:
            described = json.loads(metadata["architecture"])
            if "shape" not in described:
                raise ValueError("an earlier version wrote it")
            architecture = Architecture(**described)
            check_shapes(architecture, tensors)
            model = cls(architecture)
            model.dataset = metadata["dataset"]
            model.binarization = metadata["binarization"]
            model.load_state_dict(tensors)
            if not all(tensor.isfinite().all() for tensor in tensors.values()):
                raise ValueError("some of its weights are not finite")
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            if "allocate memory" in str(error):
                raise  # the file may be whole
            raise UserError(
                f"{path} does not hold a VAE of this project ({in_short(error)}).\n"
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
