"""What we tried on a preset and left out, kept here so that docs/ablation.md can be printed again.

TRIED_PRIORS has priors for the table that `model.prior` chooses from. TRIED has changes of a run.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from vae.data.images import Images
from vae.model.densities import Gaussian, exp, log_sum_exp
from vae.model.networks.mlp import MLP
from vae.model.posteriors import CONTEXT, Coupling, Flow, FlowPosterior
from vae.model.priors import MixturePrior, Prior
from vae.model.vae import VAE
from vae.training import schedule
from vae.training.run import Run


class FlowPrior(Prior):
    """A flow bends the mixture's draws, as another bends those of a posterior."""

    def __init__(self, latent_dim: int):
        super().__init__()
        self.mixture = MixturePrior(latent_dim)
        self.flow = Flow(
            Coupling(latent_dim, FlowPosterior.UNITS) for _ in range(FlowPosterior.LAYERS)
        )
        self.register_buffer("context", torch.zeros(CONTEXT))

    def log_prob(self, z: Tensor) -> Tensor:
        u, log_determinant = self.flow(z, self.context)
        return self.mixture.log_prob(u) + log_determinant

    def sample(self, noise: Tensor, uniform: Tensor) -> Tensor:
        return self.flow.bend(self.mixture.sample(noise, uniform), self.context)


class LevelsPrior(Prior):
    """Two stochastic levels of half the dimensions: a mixture, and Gaussians given its draw."""

    def __init__(self, latent_dim: int):
        super().__init__()
        self.sizes = [latent_dim - latent_dim // 2, latent_dim // 2]
        self.upper = MixturePrior(self.sizes[1])
        self.network = MLP(self.sizes[1], 200, 2 * self.sizes[0])

    def lower(self, upper: Tensor) -> Gaussian:
        mean, log_std = self.network(upper).chunk(2, -1)
        return Gaussian(mean, exp(log_std), log_std)

    def log_prob(self, z: Tensor) -> Tensor:
        lower, upper = z.split(self.sizes, -1)
        return self.upper.log_prob(upper) + self.lower(upper).log_prob(lower)

    def sample(self, noise: Tensor, uniform: Tensor) -> Tensor:
        lower, upper = noise.split(self.sizes, -1)
        upper = self.upper.sample(upper, uniform)
        return torch.cat([self.lower(upper).draw(lower), upper], -1)


class VampPrior(Prior):
    """The mixture of the Gaussian posteriors of learned images, as many as a batch has (Tomczak &
    Welling 2018, arXiv:1705.07120).
    """

    IMAGES = 128

    def __init__(self, latent_dim: int):
        super().__init__()
        self.logits = nn.Parameter(torch.randn(self.IMAGES, 784) - 2)
        self.model: list[VAE] = []  # in a list, so that it is no part of the prior

    def posteriors(self) -> Gaussian:
        return self.model[0].posterior(self.logits.sigmoid())

    def log_prob(self, z: Tensor) -> Tensor:
        logs = self.posteriors().log_prob(z.unsqueeze(-2))  # [..., IMAGES]
        return log_sum_exp(logs) - torch.tensor(float(self.IMAGES)).log()

    def sample(self, noise: Tensor, uniform: Tensor) -> Tensor:
        q = self.posteriors()
        its = (uniform * self.IMAGES).long()
        return q.mean[its] + q.std[its] * noise


TRIED_PRIORS = {
    "flow": "benchmarks.tried:FlowPrior",
    "levels": "benchmarks.tried:LevelsPrior",
    "vamp": "benchmarks.tried:VampPrior",
}


@dataclass(frozen=True)
class Shifted(Images):
    """Moves half of the training images by one pixel, in any of eight directions."""

    def binary(self, generator: torch.Generator) -> Tensor:
        images = super().binary(generator).view(-1, 28, 28)
        side = torch.randint(16, (len(images),), generator=generator)
        sides = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right]
        for n, shift in enumerate(sides):
            images[side == n] = images[side == n].roll(shift, (1, 2))
        return images.flatten(1)


def shifts(run: Run, train: Images) -> Images:
    return Shifted(**{field.name: getattr(train, field.name) for field in fields(train)})


def after_each_step(run: Run, does: Callable[[], None]) -> None:
    step = run.optimizer.step

    def stepped(learning_rate: float) -> None:
        step(learning_rate)
        does()

    run.optimizer.step = stepped


def average(run: Run, train: Images) -> Images:
    """Validates and keeps moving averages of the weights."""
    model, decay = run.model, 0.995
    averages = [parameter.detach().clone() for parameter in model.parameters()]

    def add() -> None:
        parameters = [parameter.data for parameter in model.parameters()]
        torch._foreach_lerp_(averages, parameters, 1 - decay)

    def exchange(training: bool = True) -> VAE:
        if training != model.training:  # training on, or at rest
            for parameter, its in zip(model.parameters(), averages, strict=True):
                parameter.data, its.data = its.clone(), parameter.data.clone()
        return type(model).train(model, training)

    after_each_step(run, add)
    model.eval()
    averages[:] = [parameter.detach().clone() for parameter in model.parameters()]
    model.train = exchange
    model.eval = lambda: exchange(False)
    return train


def kl_warm_up(run: Run, train: Images) -> Images:
    """The KL's weight rises from 0 to 1 over the first two epochs."""
    steps = 2 * len(train.pixels) / run.params.batch_size
    done = 0

    def raise_weight() -> None:
        nonlocal done
        done += 1
        run.params = run.params.model_copy(update={"kl_weight": min(1.0, done / steps)})

    after_each_step(run, raise_weight)
    return train


def long_warm_up(run: Run, train: Images) -> Images:
    """The learning rate rises for half of the training instead of 0.3."""
    schedule.WARM_UP = 0.5
    return train


TRIED = {"shifts": shifts, "average": average, "kl_warm_up": kl_warm_up, "lr_warm_up": long_warm_up}
