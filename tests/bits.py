"""Prints a digest of a few steps for each combination of one of KINDS, as JSON.

Run it as: python -m tests.bits mlp. Two machines, or two settings of one, must print the same.
"""

import hashlib
import json
import sys
from itertools import product

import torch

from tests.models import params, prepared
from vae.common.runtime import generator, make_products_portable, start
from vae.evaluation.bounds import evaluate
from vae.model import PRIORS
from vae.model.architecture import POSTERIORS
from vae.model.products import agree_in_avx2
from vae.training.loop import train_epoch
from vae.training.run import Run

OBJECTIVES = [(1, "reparameterized"), (1, "stl"), (5, "reparameterized"), (5, "dreg")]
KINDS = {
    "mlp": {"hidden_dims": [512, 512, 64], "latent_dim": 12, "residual": True},
    "padded": {"hidden_dims": [512, 512, 64], "latent_dim": 2, "prior": "standard"},
    "conv": {"network": "conv", "channels": 8, "latent_dim": 40},
    "narrow": {"hidden_dims": [250, 6], "latent_dim": 2},  # not alike in AVX2
}


def digest(*tensors: torch.Tensor) -> str:
    content = b"".join(tensor.detach().contiguous().numpy().tobytes() for tensor in tensors)
    return hashlib.sha256(content).hexdigest()[:16]


def combination(model: dict, batch: int, draws: int, gradient: str) -> str:
    """Trains three steps, takes two draws of the bound, and samples images."""
    settings = params(
        model, batch_size=batch, importance_samples=draws, gradient=gradient, kl_weight=1,
        weight_decay=0.1, schedule="one_cycle",
    )  # fmt: skip
    images = prepared(3 * batch)
    run = Run.new(settings, images)
    agree = agree_in_avx2(run.model, run.rows_a_step(len(images.pixels)))
    make_products_portable(agree)
    train_epoch(run, images.pixels, generator("cpu", 0, "noise"), 1)
    result = evaluate(run.model, images.pixels, 1, 2, generator("cpu", 0, "evaluation"))
    drawn = run.model.sample(16, generator("cpu", 0, "latents"))
    return digest(*run.model.parameters(), result.reconstruction, result.log_likelihood, drawn)


def main() -> None:
    start("cpu", "train.device", portable=True)
    digests = {}
    kind = KINDS[sys.argv[1]]
    priors = [kind["prior"]] if "prior" in kind else PRIORS
    for prior, posterior, (draws, gradient) in product(priors, POSTERIORS, OBJECTIVES):
        model = kind | {"prior": prior, "posterior": posterior}
        batch = 128 if sys.argv[1] == "mlp" and draws == 1 else 32
        name = f"{prior} {posterior} {draws} {gradient}"
        digests[name] = combination(model, batch, draws, gradient)
    print(json.dumps(digests, indent=1))


if __name__ == "__main__":
    main()
