"""The variational autoencoder, and its bounds on log p(x) as pure functions of tensors.

p(z) = N(0, I); p(x|z) is Bernoulli, its logits from the decoder; q(z|x) is a diagonal Gaussian.
Every bound is in nats per image, higher is better. Kingma & Welling 2014 (arXiv:1312.6114);
Burda, Grosse & Salakhutdinov 2016 (arXiv:1509.00519).

Only operations whose bits are the same on every x86-64 processor are used: torch's own exp, log,
sqrt, sigmoid and softplus are not among them, tanh, expm1, log1p, logsigmoid and sums over the
first or last dimension are (tests/test_bits.py).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from stages.errors import UserError
from stages.files import load_tensors, save_tensors
from stages.mlp import MLP

PIXELS = 28 * 28
MIN_LOG_STD, MAX_LOG_STD = -15.0, 10.0  # a std of 3e-7 to 22,026


def exp(x: Tensor) -> Tensor:
    """e^x as accurate as torch.exp, from expm1 (see the top of the file)."""
    return torch.where(x > 0, x.expm1() + 1, ((-x).expm1() + 1).reciprocal())


def bernoulli(x: Tensor, logits: Tensor) -> Tensor:
    """log p(x|z) = Σ x·l − softplus(l): x in {0, 1} and logits, both [..., 784] → [...] in nats.

    Finite for any finite logits. Overwrites them, hence not for autograd.
    """
    return _bernoulli(x, logits, logits.abs().neg_().expm1_().add_(2))


def bernoulli_and_gradient(x: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """`bernoulli`, and its gradient by the logits, x − σ(l), [..., 784]."""
    e = logits.abs().neg_().expm1_()  # σ(|l|) = 1/(2 + e) = (1 − e/(2 + e))/2
    factors = e + 2
    residual = torch.add(x, e.div_(factors).copysign_(logits), alpha=-0.5).sub_(0.5)
    return _bernoulli(x, logits, factors), residual


def _bernoulli(x: Tensor, logits: Tensor, factors: Tensor) -> Tensor:
    """`bernoulli` from factors = 1 + e^−|l|: softplus(l) is max(l, 0) + log(factor). As they are in
    [1, 2], 16 of them are multiplied before the logarithm. Overwrites logits and factors: memory
    anew would cost as much time as the arithmetic.
    """
    for _ in range(4):
        left, right = factors.chunk(2, dim=-1)
        factors = left.mul_(right)
    log_factors = factors.sub_(1).log1p_().sum(-1)
    return (x * logits).sub_(logits.relu_()).sum(-1).sub_(log_factors)


def gaussian_kl(mean: Tensor, std: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, std²) ‖ N(0, I)) over the last dimension, in nats (Kingma & Welling, app. B)."""
    return (0.5 * (mean.square() + std.square()) - log_std).sum(-1) - 0.5 * mean.shape[-1]


def log_add_exp(a: Tensor, b: Tensor) -> Tensor:
    """log(e^a + e^b), for adding up weights whose logarithms are known. Not for two −inf."""
    return torch.maximum(a, b) + exp(-(a - b).abs()).log1p()


@dataclass(frozen=True)
class Architecture:
    hidden_dims: tuple[int, ...]
    latent_dim: int
    posterior: str  # bounded | gaussian

    def __post_init__(self):
        if self.posterior not in ("bounded", "gaussian"):
            raise ValueError(f"unknown posterior {self.posterior!r}")


class VAE(nn.Module):
    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        hidden, latent = architecture.hidden_dims, architecture.latent_dim
        self.encoder = MLP(PIXELS, *hidden, 2 * latent)  # mean and spread: both heads are one layer
        self.decoder = MLP(latent, *reversed(hidden), PIXELS)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q(z|x) = N(mean, std²): images in {0, 1}, [N, 784] or [N, 28, 28] → mean, std, log std.

        Each [N, latent]; std is positive and finite whatever the images.
        """
        return self.posterior(self.encoder(images.flatten(1).float()))

    def posterior(self, heads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The encoder's output [N, 2·latent] → mean, std and log std, each [N, latent]."""
        mean, spread = heads.chunk(2, dim=-1)
        if self.architecture.posterior == "bounded":
            # The original's tanh heads, the second moved into (0, 1): σ(h) = (1 + tanh(h/2))/2.
            odds_against = (-spread.clamp(min=MIN_LOG_STD)).expm1() + 1  # e^−h; σ(h) = 1/(1 + e^−h)
            return mean.tanh(), (odds_against + 1).reciprocal(), -odds_against.log1p()
        log_std = (spread / 2).clamp(MIN_LOG_STD, MAX_LOG_STD)
        return mean, exp(log_std), log_std

    def decode(self, z: Tensor) -> Tensor:
        """p(x|z): latents [..., latent] → logits of the pixels [..., 784]."""
        return self.decoder(z)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Images as `encode` takes them → pixel probabilities [N, 28, 28] at the posterior mean."""
        mean, _, _ = self.encode(images)
        return _probabilities(self.decode(mean))

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """`count` new digits from the prior: pixel probabilities [count, 28, 28]."""
        device = next(self.parameters()).device
        # At least 32 at a time: products of fewer rows differ between processors.
        shape = max(count, 32), self.architecture.latent_dim
        z = torch.randn(shape, generator=generator, device=device)
        return _probabilities(self.decode(z))[:count]

    def save(self, path: str | Path) -> None:
        """Writes the weights, with the architecture in the metadata: `load` needs nothing else."""
        architecture = json.dumps(asdict(self.architecture))
        save_tensors(path, self.state_dict(), {"architecture": architecture})

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> "VAE":
        """Reads a model that `save` wrote. Raises UserError if the file is not such a model."""
        tensors, metadata = load_tensors(path)
        try:
            fields = json.loads(metadata["architecture"])
            model = cls(Architecture(**fields))
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


def _probabilities(logits: Tensor) -> Tensor:
    return (0.5 + 0.5 * (logits / 2).tanh()).unflatten(-1, (28, 28))  # σ(logits)


def log_likelihood(model: VAE, x: Tensor, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
    """log p(x|z) at z = mean + std·noise, a draw from the posterior: [N], in nats.

    x [N, 784] in {0, 1}; mean and std [N, latent] from `encode`; noise [N, latent] from N(0, 1),
    independent over images and over dimensions.
    """
    return bernoulli(x, model.decode(mean + std * noise))


def elbo_terms(model: VAE, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Both parts of the ELBO of each image: log p(x|z) at one draw of z, and the exact KL.

    Arguments as in `log_likelihood` → reconstruction [N] and KL [N] in nats; the ELBO is their
    difference (Kingma & Welling, eq. 7).
    """
    mean, std, log_std = model.encode(x)
    return log_likelihood(model, x, mean, std, noise), gaussian_kl(mean, std, log_std)


def elbo_gradient(model: VAE, x: Tensor, noise: Tensor, kl_weight: float) -> tuple[Tensor, Tensor]:
    """`elbo_terms`, and the gradient of the mean of kl_weight·KL − reconstruction over the images.

    The gradient overwrites the `.grad` of every parameter. By hand, because autograd would double
    the time of a small step; tests/test_training_step.py holds it against autograd's.
    """
    heads, encoder_inputs = model.encoder.forward_keeping_inputs(x)
    mean, std, log_std = model.posterior(heads)
    deviation = std * noise
    logits, decoder_inputs = model.decoder.forward_keeping_inputs(mean + deviation)
    reconstruction, residual = bernoulli_and_gradient(x, logits)

    per_image = 1 / len(x)
    by_z = model.decoder.backward(decoder_inputs, residual.mul_(-per_image), to_input=True)
    by_mean = torch.add(by_z, mean, alpha=kl_weight * per_image)
    by_log_std = torch.add(by_z * deviation, std.square() - 1, alpha=kl_weight * per_image)
    if model.architecture.posterior == "bounded":
        by_heads = [by_mean * (1 - mean.square()), by_log_std * (1 - std)]
    else:
        by_heads = [by_mean, by_log_std / 2]
    model.encoder.backward(encoder_inputs, torch.cat(by_heads, dim=-1), to_input=False)
    return reconstruction, gaussian_kl(mean, std, log_std)


def log_weight(
    model: VAE, x: Tensor, mean: Tensor, std: Tensor, log_std: Tensor, noise: Tensor
) -> Tensor:
    """log p(x, z)/q(z|x) at one draw of z, arguments as in `log_likelihood`: [N], in nats.

    The logarithm of the mean of k such weights is the bound L_k of Burda et al., eq. 8: the ELBO
    in expectation at k = 1, growing with k towards log p(x).
    """
    z = mean + std * noise
    log_prior_ratio = 0.5 * (noise.square() - z.square()) + log_std  # log p(z) − log q(z|x)
    return log_likelihood(model, x, mean, std, noise) + log_prior_ratio.sum(-1)
