"""Prints a digest of a few steps of each combination that `portable` allows, as JSON.

Run as: python -m tests.bits. Two machines, or two settings of one, must print the same.
"""

import hashlib
import json

import torch

from tests.models import params, prepared
from vae.common.runtime import generator, start
from vae.evaluation.bounds import evaluate
from vae.model import NETWORKS, PRIORS
from vae.model.architecture import POSTERIORS
from vae.training.loop import Run, train_epoch

OBJECTIVES = [(1, "reparameterized"), (1, "stl"), (5, "reparameterized"), (5, "dreg")]
SIZES = {
    "mlp": {"hidden_dims": [512, 512, 64], "latent_dim": 12, "residual": True},
    "conv": {"channels": 16, "latent_dim": 40},
}


def digest(*tensors: torch.Tensor) -> str:
    content = b"".join(tensor.detach().contiguous().numpy().tobytes() for tensor in tensors)
    return hashlib.sha256(content).hexdigest()[:16]


def combination(model: dict, batch: int, draws: int, gradient: str) -> str:
    """Three steps of training, two draws of the bound, and new images."""
    settings = params(
        model, batch_size=batch, importance_samples=draws, gradient=gradient, kl_weight=1,
        weight_decay=0.1, schedule="one_cycle",
    )  # fmt: skip
    images = prepared(3 * batch)
    run = Run.new(settings, images)
    train_epoch(run, images.pixels, generator("cpu", 0, "noise"), 1)
    result = evaluate(run.model, images.pixels, 1, 2, generator("cpu", 0, "evaluation"))
    start("cpu", "sample.device", portable=True)  # as a stage of its own would
    drawn = run.model.sample(16, generator("cpu", 0, "latents"))
    return digest(*run.model.parameters(), result.reconstruction, result.log_likelihood, drawn)


def main() -> None:
    start("cpu", "train.device", portable=True)
    digests = {}
    for network in NETWORKS:
        for prior in PRIORS:
            for posterior in POSTERIORS:
                for draws, gradient in OBJECTIVES:
                    model = {"network": network, "prior": prior, "posterior": posterior}
                    name = " ".join([*model.values(), str(draws), gradient])
                    batch = 32 if network == "conv" or draws > 1 else 128
                    digests[name] = combination(
                        model | SIZES.get(network, {}), batch, draws, gradient
                    )
    print(json.dumps(digests, indent=1))


if __name__ == "__main__":
    main()
