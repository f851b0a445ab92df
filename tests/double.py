"""A second measurement of a model, for comparison: plain NumPy in double precision.

It is written from the papers' formulas, reads the model's file by itself, and imports nothing of
this project. So it shares no code with what it checks, nor its ways around rounding: densities have
all their constants here, and a flow's density comes from the draw, not from the flow's inverse.
In the comments on shapes, K is the number of draws, N of images and L of latent dimensions.
"""

import json
from functools import partial

import numpy as np
from numpy import ndarray as Array
from safetensors import safe_open

Weights = dict[str, Array]
Model = tuple[dict, Weights]  # its architecture and its weights
relu = partial(np.maximum, 0.0)


def read(path) -> Model:
    with safe_open(path, "np") as file:
        weights = {name: file.get_tensor(name).astype(float) for name in list(file.keys())}
        return json.loads(file.metadata()["architecture"]), weights


def part(weights: Weights, prefix: str) -> Weights:
    """The weights of a part of the model, by their names in that part."""
    return {name[len(prefix) :]: its for name, its in weights.items() if name.startswith(prefix)}


def affine(weights: Weights, layer: int, x: Array) -> Array:
    """[..., in] → [..., out]"""
    return x @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]


def mlp(weights: Weights, x: Array, residual: bool = False) -> Array:
    *hidden, last = sorted({int(name.split(".")[0]) for name in weights})
    for layer in hidden:
        active = relu(affine(weights, layer, x))
        x = x + active if residual and x.shape == active.shape else active
    return affine(weights, last, x)


def convolution(weights: Weights, layer: int | str, x: Array) -> Array:
    """3×3 with zeros around the image: [N, in, H, W] → [N, out, H, W]."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    sums = np.einsum("nihwab,oiab->nohw", windows, weights[f"{layer}.weight"], optimize=True)
    return sums + weights[f"{layer}.bias"][:, None, None]


def block(weights: Weights, layer: int, x: Array) -> Array:
    """A residual block with its activations first (He et al. 2016, arXiv:1603.05027)."""
    first = convolution(weights, f"{layer}.first", relu(x))
    return x + convolution(weights, f"{layer}.second", relu(first))


def to_pixels(x: Array) -> Array:
    """[N, 4·C, H, W] → [N, C, 2·H, 2·W] (Shi et al. 2016, arXiv:1609.05158)."""
    n, _, h, w = x.shape
    return np.einsum("ncabhw->nchawb", x.reshape(n, -1, 2, 2, h, w)).reshape(n, -1, 2 * h, 2 * w)


def encode(model: Model, x: Array) -> tuple[Array, Array, Array]:
    """x [N, C, H, W] → q(z|x): mean and std [N, L], and a flow's context [N, 64], else [N, 0]."""
    a, weights = model[0], part(model[1], "encoder.")
    if a["network"] == "mlp":
        outputs = mlp(part(weights, "1."), x.reshape(len(x), -1), a["settings"].get("residual"))
    else:
        n, c, h, w = x.shape  # patches of 4×4 pixels become channels
        patches = np.einsum("nchawb->ncabhw", x.reshape(n, c, h // 4, 4, w // 4, 4))
        maps = convolution(weights, 1, patches.reshape(n, -1, h // 4, w // 4))
        maps = relu(block(weights, 2, maps))
        outputs = affine(weights, 7, relu(affine(weights, 5, maps.reshape(len(x), -1))))
    mean, spread, context = np.split(outputs, [a["latent_dim"], 2 * a["latent_dim"]], axis=-1)
    if a["posterior"] == "bounded":
        return np.tanh(mean), 1 / (1 + np.exp(-np.maximum(spread, -15))), context
    return mean, np.exp(np.clip(spread / 2, -15, 10)), context


def decode(model: Model, z: Array) -> Array:
    """z [K, N, L] → the likelihood's parameters [K, N, outputs, C, H, W]."""
    a, weights = model[0], part(model[1], "decoder.")
    channels, height, width = a["shape"]
    if a["network"] == "mlp":
        outputs = mlp(part(weights, "0."), z, a["settings"].get("residual"))
    else:
        rows = affine(weights, 2, relu(affine(weights, 0, z.reshape(-1, z.shape[-1]))))
        maps = relu(block(weights, 4, rows.reshape(len(rows), -1, height // 4, width // 4)))
        maps = relu(block(weights, 8, to_pixels(convolution(weights, 6, maps))))
        outputs = to_pixels(convolution(weights, 10, maps))
    return outputs.reshape(*z.shape[:-1], -1, channels, height, width)


def log_normal(z: Array, mean: Array | float, std: Array | float) -> Array:
    """log N(z; mean, diag std²): [..., L] → [...]."""
    return -(0.5 * ((z - mean) / std) ** 2 + np.log(std) + 0.5 * np.log(2 * np.pi)).sum(-1)


def draw(model: Model, x: Array, noise: Array) -> tuple[Array, Array]:
    """noise [K, N, L] → draws z of q(z|x), [K, N, L], and log q(z|x), [K, N]. A flow's coupling
    moves one half by the other (Dinh et al. 2017, arXiv:1605.08803, section 3.2), and then the
    halves change places.
    """
    mean, std, context = encode(model, x)
    z = mean + std * noise
    log_q, size = log_normal(z, mean, std), z.shape[-1] // 2
    context = np.broadcast_to(context, (*z.shape[:-1], context.shape[-1]))
    for layer in range(4 if model[0]["posterior"] == "flow" else 0):
        kept, moved = z[..., :size], z[..., size:]
        weights = part(model[1], f"head.flow.{layer}.network.")
        terms = mlp(weights, np.concatenate([kept, context], -1))
        shift, log_scale = terms[..., : moved.shape[-1]], np.tanh(terms[..., moved.shape[-1] :])
        z = np.concatenate([moved * np.exp(log_scale) + shift, kept], -1)
        log_q = log_q - log_scale.sum(-1)
    return z, log_q


def log_prior(model: Model, z: Array) -> Array:
    """[..., L] → [...]"""
    if model[0]["prior"] == "standard":
        return log_normal(z, 0.0, 1.0)
    prior = part(model[1], "prior.")
    shares = np.exp(prior["logits"]) / np.exp(prior["logits"]).sum()
    logs = log_normal(z[..., None, :], prior["means"], np.exp(prior["log_stds"]))
    return np.logaddexp.reduce(np.log(shares) + logs, -1)


def log_likelihood(model: Model, x: Array, z: Array) -> Array:
    """log p(x|z), [K, N]."""
    outputs = decode(model, z)
    if model[0]["likelihood"] == "bernoulli":  # Kingma & Welling 2014, eq. 11
        logits = outputs[:, :, 0]
        return (x * logits - np.logaddexp(0, logits)).sum((-3, -2, -1))
    logits, locations, log_scales = np.split(outputs, 3, axis=2)  # five components each
    x = x[:, None]  # the same for all of them
    distance = x - (locations + np.array([0.1, 0.3, 0.5, 0.7, 0.9])[:, None, None, None])
    scales = np.exp(np.clip(log_scales - 3, -7, 3))
    # σ(upper) − σ(lower) (Salimans et al. 2017, arXiv:1701.05517, eq. 2). The mirrored ends give
    # the same, and above the location no difference of two numbers close to 1.
    upper = np.where(x == 1, np.inf, (distance + 0.5 / 255) / scales)
    lower = np.where(x == 0, -np.inf, (distance - 0.5 / 255) / scales)
    upper, lower = np.where(distance > 0, (-lower, -upper), (upper, lower))
    log_upper, log_lower = -np.logaddexp(0, -upper), -np.logaddexp(0, -lower)
    log_mass = log_upper + np.log(-np.expm1(log_lower - log_upper))
    log_shares = logits - np.logaddexp.reduce(logits, 2, keepdims=True)
    return np.logaddexp.reduce(log_shares + log_mass, 2).sum((-3, -2, -1))


def measure(model: Model, x: Array, noise: Array) -> tuple[Array, Array, Array]:
    """log p(x|z), KL and log q(z|x)/p(z) at the draws, [K, N] each, of x [N, C, H, W] in [0, 1]."""
    z, log_q = draw(model, x, noise)
    kl = log_ratio = log_q - log_prior(model, z)
    if model[0]["prior"] == "standard" and model[0]["posterior"] != "flow":
        # In closed form (Kingma & Welling 2014, appendix B).
        mean, std, _ = encode(model, x)
        kl = np.zeros_like(kl) - 0.5 * (1 + np.log(std**2) - mean**2 - std**2).sum(-1)
    return log_likelihood(model, x, z), kl, log_ratio


def bound(log_weights: Array, k: int) -> Array:
    """L_k (Burda et al. 2016, eq. 8), averaged over groups of k draws: [K, N] → [N]."""
    groups = log_weights[: len(log_weights) // k * k].reshape(-1, k, log_weights.shape[-1])
    return (np.logaddexp.reduce(groups, 1) - np.log(k)).mean(0)


def effective_samples(log_weights: Array) -> Array:
    """(Σ w)² / Σ w²: [K, N] → [N]."""
    weights = np.exp(log_weights - log_weights.max(0))
    return weights.sum(0) ** 2 / (weights**2).sum(0)
