"""Prints a digest of a few steps of each kind of model and objective, as JSON.

Run it as: python -m tests.bits. Two machines, or two settings of one, must print the same.
"""

import hashlib
import json
from itertools import cycle, product

import torch

from tests.models import FLAT, new_run, prepared
from vae.evaluation.bounds import evaluate
from vae.model import PRIORS
from vae.numerics import generator, settle, start
from vae.numerics.machine import PORTABLE_THREADS
from vae.numerics.products import Linear
from vae.training.loop import train_epoch

OBJECTIVES = [(1, "stl"), (5, "dreg"), (1, "reparameterized"), (5, "reparameterized")]
GREY, COLOUR = (1, 28, 28), (3, 12, 12)


def mlp(*hidden_dims: int, latent_dim: int = 12, **parts) -> dict:
    settings = {"hidden_dims": hidden_dims, "residual": True}
    return {"settings": settings, "latent_dim": latent_dim} | parts


KINDS = {  # shape and levels of the images, the model, and the settings
    "mlp": (GREY, 2, mlp(512, 512, 64), {"batch_size": 64}),
    "padded": (GREY, 2, mlp(512, 64, latent_dim=2), {"batch_size": 24}),
    "narrow": (COLOUR, 2, mlp(250, 6, latent_dim=2), {"batch_size": 100}),
    "shards": (GREY, 2, mlp(200, 20), {"batch_size": 50, "shards": 2}),
    "conditional": (GREY, 2, mlp(64, 20, classes=10), {"batch_size": 24}),
    "logistic": (COLOUR, 256, mlp(128, 24), {"batch_size": 24}),
    "conv": (
        GREY, 2, {"network": "conv", "settings": {"channels": 8}, "latent_dim": 40},
        {"batch_size": 32},
    ),
    "conv in colour": (
        COLOUR, 256, {"network": "conv", "settings": {"channels": 6}}, {"batch_size": 24},
    ),
    "levels": (GREY, 2, {"network": "levels"}, {"batch_size": 24}),
}  # fmt: skip


def combination(kind: str, model: dict, draws: int, gradient: str) -> str:
    """Trains three steps, takes two draws of the bound, and samples images."""
    shape, levels, its, settings = KINDS[kind]
    images = prepared(3 * settings["batch_size"] - 1, shape, levels)  # the last batch is smaller
    run = new_run(
        images, its | model, importance_samples=draws, gradient=gradient,
        weight_decay=0.1, schedule="one_cycle", **settings,
    )  # fmt: skip
    settle(run.model.networks)
    pixels = run.model.labelled(images.pixels, images.labels)
    train_epoch(run, pixels, generator("cpu", 0, "noise"), 1)
    result = evaluate(run.model, pixels, 1, 2, generator("cpu", 0, "evaluation"))
    drawn = run.model.sample(16, generator("cpu", 0, "latents"), pixels=levels > 2)
    tensors = *run.model.parameters(), result.reconstruction, result.log_likelihood, drawn
    content = b"".join(tensor.detach().contiguous().numpy().tobytes() for tensor in tensors)
    return hashlib.sha256(content).hexdigest()[:16]


def products(threads: int) -> str:
    """A digest of layers of narrow shapes, forwards and backwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)  # whatever number of processors there is
    torch.manual_seed(0)
    digest, sides = hashlib.sha256(), [1, 12, 13, 16, 22, 24, 33, 35, 40, 47, 64]
    for rows, into, out in product([1, 33, 48], sides, sides):
        layer, x = Linear(into, out), torch.randn(rows, into, requires_grad=True)
        y = layer(x)
        y.backward(torch.randn_like(y))
        for tensor in y.detach(), x.grad, layer.weight.grad:
            digest.update(tensor.contiguous().numpy().tobytes())
    torch.set_num_threads(before)
    return digest.hexdigest()[:16]


def main() -> None:
    start(torch.device("cpu"), portable=True)
    digests = {f"products of {n} threads": products(n) for n in range(1, PORTABLE_THREADS + 1)}
    for kind in KINDS:
        parts = list(product(PRIORS, FLAT))
        if kind == "levels":
            parts = [("standard", "ladder"), ("mixture", "ladder")]
        elif kind != "mlp":  # the others have other shapes, and the same functions
            parts = [("standard", "bounded"), ("mixture", "flow")]
        for (prior, posterior), (draws, gradient) in zip(parts, cycle(OBJECTIVES)):
            model = {"prior": prior, "posterior": posterior}
            name = f"{kind}, {prior}, {posterior}, {draws} {gradient}"
            digests[name] = combination(kind, model, draws, gradient)
    print(json.dumps(digests, indent=1))


if __name__ == "__main__":
    main()
