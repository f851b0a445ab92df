"""How long the usual loop trains for its test ELBO, and how long a preset of ours does.

The same network and mathematics: Gaussian posterior, KL weight 1. The usual loop takes 15 epochs at
32 images a step; the preset is `FAST`, as for `dvc exp run -S`.
"""

import time

import torch
from torch import Tensor

from benchmarks.usual_loop import UsualGaussianVAE, UsualLoop
from stages.dataset import load_images
from stages.evaluate import evaluate
from stages.mlp import FlatAdam
from stages.params import load_params
from stages.runtime import generator, start
from stages.train import fit
from stages.vae import VAE, Architecture

ARCHITECTURE = Architecture((512, 64), 12, "gaussian")
FAST = {
    "batch_size": 256,
    "learning_rate": 0.01,
    "schedule": "one_cycle",
    "epochs": 9,
    "kl_weight": 1.0,
}


def test_elbo(model: VAE) -> float:
    pixels = load_images("data/test.safetensors").pixels
    result = evaluate(model, pixels, 10, 1, generator("cpu", 0, "evaluation"))
    return (result.reconstruction - result.kl).mean().item()


def as_ours(usual: UsualGaussianVAE) -> VAE:
    """The same function as a VAE of this project, whose two heads are one layer."""
    state: dict[str, Tensor] = {
        f"{part}.{name}": tensor
        for part in ("encoder", "decoder")
        for name, tensor in getattr(usual, part).state_dict().items()
    }
    for name in "weight", "bias":
        heads = getattr(usual.mean, name), getattr(usual.spread, name)
        state[f"encoder.4.{name}"] = torch.cat(heads).detach()
    model = VAE(ARCHITECTURE)
    model.load_state_dict(state)
    return model


def usual(epochs: int = 15) -> tuple[float, float]:
    """Seconds of training, and the test ELBO in nats."""
    torch.manual_seed(0)
    images = load_images("data/train.safetensors").pixels
    loop = UsualLoop(UsualGaussianVAE(), images, kl_weight=1.0)
    began = time.perf_counter()
    for _ in range(epochs):
        loop.epoch()
    return time.perf_counter() - began, test_elbo(as_ours(loop.model))


def ours() -> tuple[float, float]:
    """Seconds of training, validation included, and the test ELBO in nats."""
    start("cpu", "train.device")
    params = load_params().train.model_copy(update=FAST)
    train = load_images("data/train.safetensors")
    validation = load_images("data/validation.safetensors")
    torch.manual_seed(0)
    model = VAE(ARCHITECTURE)
    began = time.perf_counter()
    list(fit(model, FlatAdam(model), params, train, validation))
    return time.perf_counter() - began, test_elbo(model)
