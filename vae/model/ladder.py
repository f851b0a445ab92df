"""A posterior that infers groups of latents from the top down, each given those above it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from vae.model.densities import Gaussian, NoGaussian
from vae.model.networks.levels import CONTEXT, Step, TopDown
from vae.model.posteriors import MAX_LOG_STD, MIN_LOG_STD, Apply, Posterior
from vae.numerics import exp

Draws = list[tuple[Tensor, Gaussian | None, Tensor]]  # one or none, as `_walk` gives them


class LadderPosterior(Posterior):
    """q(z|x) = Π q(z_i | z_<i, x), each factor a Gaussian of what the encoder says of the image and
    of the decoder's state above it (Sønderby et al. 2016, arXiv:1602.02282, section 2).
    """

    @staticmethod
    def outputs(latent_dim: int) -> int:
        return CONTEXT * latent_dim

    def follow(self, decoder: nn.Module, run: Apply) -> None:
        if not isinstance(decoder, TopDown):
            raise ValueError("model.posterior = 'ladder' needs model.network = 'levels'")
        if sum(decoder.sizes) != self.latent_dim:
            raise ValueError("it takes no classes; set model.conditional to false")
        self.way = decoder, run  # a tuple, because the parameters are the decoder's

    def forward(self, outputs: Tensor) -> "LadderDensity":
        decoder, run = self.way
        zeros = outputs.new_zeros(len(outputs), self.latent_dim)
        return LadderDensity(Gaussian(zeros, zeros + 1, zeros), decoder, run, outputs)


@dataclass(frozen=True)
class LadderDensity(NoGaussian):
    """Its parts are [N, ...]."""

    change: Gaussian  # is added to the means and log stds: nothing, until a proposal is refined
    decoder: TopDown
    run: Apply
    context: Tensor  # [N, CONTEXT·latent]: what the encoder says
    last: Draws = field(default_factory=list)

    @property
    def center(self) -> Tensor:
        """Each group at its mean, given that those above it are at theirs."""
        return self.mean

    @property
    def gaussian(self) -> Gaussian:
        return self.change

    def around(self, gaussian: Gaussian) -> "LadderDensity":
        return replace(self, change=gaussian, last=[])

    def draw(self, noise: Tensor) -> Tensor:
        self.last[:] = [self._walk(noise, draws=True)]
        return self.last[0][0]

    def conditional(self, z: Tensor) -> Gaussian:
        known = self.last[0][1] if self._drew(z) else None
        return known or self._walk(z, draws=False)[1]

    def decoding(self, decoder: nn.Module, z: Tensor) -> Callable[[Tensor], Tensor]:
        """Goes on from where the draws have come."""
        pixels = decoder.get_submodule("pixels")
        return (lambda _: pixels(self.last[0][2])) if self._drew(z) else decoder

    def _drew(self, z: Tensor) -> bool:
        """Whether z are the last draws, for which the way down need not be gone again: decoding
        from the top would make a step of the preset `levels` 1.3 times as long (one AMD core).
        """
        return len(self.last) > 0 and self.last[0][0] is z

    def _walk(self, values: Tensor, draws: bool) -> tuple[Tensor, Gaussian, Tensor]:
        """values [..., N, latent] are latents or, if this `draws`, noise. → the latents, and the
        Gaussian of each given those above it, [..., N, latent] each; and the decoder's state below
        the last group.
        """

        def groups(its: Tensor, numbers: int = 1) -> tuple[Tensor, ...]:
            rows = its.expand(*values.shape[:-2], *its.shape[-2:]).reshape(-1, its.shape[-1])
            return rows.split([numbers * size for size in self.decoder.sizes], -1)

        contexts, found, state = groups(self.context, CONTEXT), [], []
        moves, stretches = groups(self.change.mean), groups(self.change.log_std)

        def walk(values: Tensor) -> Tensor:
            given = groups(values)

            def latents(number: int, step: Step, state: Tensor) -> Tensor:
                mean, scale = step.inferred(state, contexts[number]).to(values.dtype).chunk(2, -1)
                log_std = (scale / 2 + stretches[number]).clamp(MIN_LOG_STD, MAX_LOG_STD)
                q = Gaussian(mean + moves[number], exp(log_std), log_std)
                z = q.draw(given[number]) if draws else given[number]
                found.append(torch.stack([z, q.mean, q.std, q.log_std]))
                return z

            state.append(self.decoder.walk(latents))
            return torch.cat(found, -1)

        z, mean, std, log_std = self.run(walk, values).view(4, *values.shape)
        return z, Gaussian(mean, std, log_std), state[0]

    def moments(self, stream: torch.Generator) -> Gaussian:
        """Of each latent, given that those above it are at their means."""
        return self._walk(torch.zeros_like(self.change.mean), draws=True)[1]

    def log_prob(self, z: Tensor) -> Tensor:
        return self.conditional(z).log_prob(z)

    def detach(self) -> "LadderDensity":
        constants = {id(parameter): parameter.detach() for parameter in self.decoder.parameters()}
        decoder = copy.deepcopy(self.decoder, constants)
        last: Draws = [(z, None, state) for z, _, state in self.last]  # the decoder is no constant
        return LadderDensity(self.change.detach(), decoder, self.run, self.context.detach(), last)
