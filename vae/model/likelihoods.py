"""Likelihoods p(x|z) of pixels that are independent given z.

x holds float images [N, C, H, W] in [0, 1]: a pixel's level is x·(levels − 1). The decoder gives
`outputs` numbers for each pixel and channel, [..., N, outputs·C, H, W].
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from vae.images import Images
from vae.numerics import exp, log, log_sigmoid, log_sum_exp, sigmoid, softmax, softplus


class Likelihood(ABC):
    levels: int  # how many levels a pixel can have
    outputs: int = 1  # how many outputs of the decoder a pixel and channel takes

    @abstractmethod
    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        """log p(x|z) in nats, the sum over pixels and channels: → [..., N]."""

    @abstractmethod
    def mean(self, outputs: Tensor) -> Tensor:
        """The mean image, in [0, 1]: → [..., N, C, H, W]."""

    @abstractmethod
    def draw(self, outputs: Tensor, stream: torch.Generator | None) -> Tensor:
        """x ~ p(x|z): → [..., N, C, H, W]."""

    @abstractmethod
    def bias(self, images: Images) -> Tensor:
        """Outputs that fit each pixel's frequencies in `images`, whatever z is: [outputs·C, H, W].
        Training can start from them.
        """


class Bernoulli(Likelihood):
    """Binary pixels. The outputs are the logits of being 1."""

    levels = 2

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        """Σ log σ(±l), with + where the pixel is 1; finite for any finite logits l."""
        return log_sigmoid((2 * x - 1) * outputs).flatten(-3).sum(-1)

    def mean(self, outputs: Tensor) -> Tensor:
        return sigmoid(outputs)

    def draw(self, outputs: Tensor, stream: torch.Generator | None) -> Tensor:
        uniform = torch.rand(outputs.shape, generator=stream, device=outputs.device)
        return (uniform < sigmoid(outputs)).to(outputs.dtype)

    def bias(self, images: Images) -> Tensor:
        """log p/(1 − p) for the share p of images in which a pixel is 1."""
        top = 255 if images.intensities else 1  # intensities are probabilities in 255ths
        ones = images.pixels.sum(0, dtype=torch.int64)
        return _log_frequencies(ones, top * len(images.pixels) - ones, top)


class Logistic(Likelihood):
    """256 levels: each pixel and channel is a mixture of discretized logistic distributions
    (Kingma et al. 2016, arXiv:1606.04934; Salimans et al. 2017, arXiv:1701.05517, eq. 2).

    A level's mass is the distribution's between the middles to its neighbours; the first and the
    last level have what lies beyond them. So the masses sum to 1. The outputs are, for each
    component: the logit of its weight; its location, from the middle of its part of [0, 1]; the
    logarithm of its scale.
    """

    levels = 256
    components = 5
    outputs = 3 * components

    HALF = 0.5 / 255  # half the width of a level
    LOG_SCALES = -7.0, 3.0  # a scale is between these; at first it is e^FIRST
    FIRST = -3.0

    def _parts(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of weights, locations, log scales: [components, ..., N, C, H, W] each."""
        shape = 3, self.components, -1
        weights, locations, log_scales = outputs.unflatten(-3, shape).movedim((-5, -4), (0, 1))
        parts = torch.arange(self.components, device=outputs.device, dtype=outputs.dtype)
        middles = (parts + 0.5) / self.components
        locations = locations + middles.view(-1, *[1] * (locations.ndim - 1))
        return weights, locations, (log_scales + self.FIRST).clamp(*self.LOG_SCALES)

    def log_prob(self, x: Tensor, outputs: Tensor) -> Tensor:
        weights, locations, log_scales = self._parts(outputs)
        precisions, centered = exp(-log_scales), x - locations
        upper = (centered + self.HALF) * precisions
        lower = (centered - self.HALF) * precisions
        width = 2 * self.HALF * precisions
        # σ(u) − σ(l) = σ(u) σ(−l) (1 − e^−w) for u = l + w, and 1 − e^−w = w·(1 − e^−w)/w.
        log_width = math.log(2 * self.HALF) - log_scales + (-(-width).expm1() / width - 1).log1p()
        has_below, has_above = x > self.HALF, x < 1 - self.HALF
        log_mass = torch.where(has_below, log_sigmoid(-lower), 0.0)
        log_mass = log_mass + torch.where(has_above, log_sigmoid(upper), 0.0)
        log_mass = log_mass + torch.where(has_below & has_above, log_width, 0.0)
        of_pixels = log_sum_exp(weights + log_mass, 0) - log_sum_exp(weights, 0)
        return of_pixels.flatten(-3).sum(-1)

    def mean(self, outputs: Tensor) -> Tensor:
        """Of the distribution before it is discretized, with all beyond [0, 1] at its ends: within
        half a level of the levels' mean.
        """
        weights, locations, log_scales = self._parts(outputs)
        locations = locations.clamp(-1e3, 1e3)  # beyond, a difference of large numbers is lost
        scales = exp(log_scales)
        ends = softplus(locations / scales) - softplus((locations - 1) / scales)
        # The weights may sum to more than 1 by a rounding.
        return (softmax(weights) * (scales * ends)).sum(0).clamp(0, 1)

    def draw(self, outputs: Tensor, stream: torch.Generator | None) -> Tensor:
        weights, locations, log_scales = self._parts(outputs)
        shape, device = weights.shape[1:], outputs.device
        chosen, uniform = torch.rand(2, *shape, generator=stream, device=device).clamp(
            1e-7, 1 - 1e-7
        )
        component = (softmax(weights).cumsum(0) < chosen).sum(0, keepdim=True)
        component = component.clamp(max=self.components - 1)
        location, log_scale = (
            parts.gather(0, component).squeeze(0) for parts in (locations, log_scales)
        )
        value = location + exp(log_scale) * (log(uniform) - log(1 - uniform))
        return (255 * value).round().clamp(0, 255) / 255

    def bias(self, images: Images) -> Tensor:
        """A component's weight is the share of the images with the pixel in its part of [0, 1]."""
        part = images.pixels.to(torch.int64) * self.components // 256
        counts = torch.cat([(part == component).sum(0) for component in range(self.components)])
        weights = _log_frequencies(counts, torch.full_like(counts, len(images.pixels)), 1)
        return torch.cat([weights, torch.zeros(2 * len(weights), *weights.shape[1:])])


def _log_frequencies(ones: Tensor, others: Tensor, unit: int) -> Tensor:
    """log (ones + ½)/(others + ½) in float32, both counted in parts of 1/unit of an image."""
    pairs = zip(ones.flatten().tolist(), others.flatten().tolist(), strict=True)
    # To seven digits: no two systems' logarithms differ there.
    odds = [(one / unit + 0.5) / (other / unit + 0.5) for one, other in pairs]
    return torch.tensor([float(f"{math.log(o):.7g}") for o in odds]).view(ones.shape)
