"""How long the usual loop trains for its test ELBO, and how long the preset `fast` trains for it.

The usual loop takes 15 epochs at 32 images a step, with the defaults' network, a Gaussian posterior
and KL weight 1.
"""

import time

import torch
from torch import Tensor

from benchmarks.ours import preset
from benchmarks.usual_loop import UsualGaussianVAE, UsualLoop
from vae.common.runtime import generator, start
from vae.data.images import load_images
from vae.evaluation.bounds import evaluate
from vae.model.architecture import Architecture
from vae.model.vae import VAE
from vae.training.loop import fit
from vae.training.run import Run


def test_elbo(model: VAE) -> float:
    pixels = load_images("data/test.safetensors").pixels
    result = evaluate(model, pixels, 10, 1, generator("cpu", 0, "evaluation"))
    return (result.reconstruction - result.kl).mean().item()


def as_ours(usual: UsualGaussianVAE) -> VAE:
    """The same model as a VAE of this project, in which one layer makes both heads."""
    state: dict[str, Tensor] = {
        f"{part}.{name}": tensor
        for part in ("encoder", "decoder")
        for name, tensor in getattr(usual, part).state_dict().items()
    }
    for name in "weight", "bias":
        heads = getattr(usual.mean, name), getattr(usual.spread, name)
        state[f"encoder.4.{name}"] = torch.cat(heads).detach()
    model = VAE(Architecture((512, 64), 12, "gaussian"))
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
    params = preset("fast")
    train = load_images("data/train.safetensors")
    validation = load_images("data/validation.safetensors")
    run = Run.new(params, train)
    began = time.perf_counter()
    list(fit(run, train, validation))
    return time.perf_counter() - began, test_elbo(run.model)
