"""Every tensor is on the model's device, which fake tensors of another device show without a GPU.

An operation on tensors of two devices raises FakeTensorDeviceMismatchError. The device is CUDA,
except for a step of training: there autograd asks for the driver, and torch's device `lazy` stands
in for it.
"""

import contextlib
import subprocess
import sys

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.models import architecture
from vae import VAE
from vae.evaluation.bounds import evaluate
from vae.evaluation.elbo import elbo_at_rest
from vae.model.objectives import loss
from vae.training.loop import check_sense
from vae.training.optimizer import AdamW
from vae.training.run import Run
from vae.training.schedule import constant
from vae.training.settings import Settings
from vae.training.shards import ALONE, Sharded
from vae.training.steps import Plain

OBJECTIVES = [(1, "reparameterized"), (3, "dreg"), (1, "stl"), (3, "reparameterized")]
MODELS = [  # each part, not each combination
    {"network": "mlp", "posterior": "flow", "classes": 10},
    {"network": "conv", "posterior": "bounded", "prior": "mixture", "likelihood": "logistic"},
    {"network": "mlp", "posterior": "gaussian"},
    {"network": "levels"},
]


def fake(device: str, parts: dict, draws: int = 1, shards: int = 1, gradient="reparameterized"):
    """A run, pixels [40, 1 or 2, 8, 8] and noise [draws, 40, latent] on a fake device."""
    settings = Settings(importance_samples=draws, shards=shards, gradient=gradient)
    with torch.device(device):
        model = VAE(architecture(**parts))
        optimizer = AdamW(dict(model.named_parameters()), 0.1)
        step = Plain(model, optimizer, settings)
        if shards > 1:
            step = Sharded(model, optimizer, settings, ALONE)
        run = Run(settings, model, optimizer, constant, step, {}, {}, [])
        channels = 2 if parts.get("classes") else 1
        noise = torch.randn(draws, 40, model.architecture.latent_dim)
        return run, torch.zeros(40, channels, 8, 8, dtype=torch.uint8), noise


@pytest.mark.parametrize(
    ("model", "objective", "shards"), list(zip(MODELS, OBJECTIVES, [1, 1, 4, 1], strict=True))
)
def test_a_step_computes_on_the_models_device(monkeypatch, model, objective, shards):
    draws, gradient = objective
    monkeypatch.setattr("torch.randint", lambda *_: 0)  # of which shards make a number
    with FakeTensorMode():
        run, pixels, noise = fake("lazy", model, draws, shards, gradient)
        progress = torch.tensor(0.5, device="lazy")
        for _ in range(2):
            terms = run.step(pixels, noise, 0.001, progress)
            assert (terms.device.type, terms.shape) == ("lazy", (2, 40))
            run.restore(run.state(), [])


class WithoutDoubles(TorchDispatchMode):
    """Fails where the fake device, as Apple's GPUs, would need double precision."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        results = operation(*args, **(kwargs or {}))
        for its in tree_leaves(results):
            assert not (isinstance(its, torch.Tensor) and its.is_cuda and its.dtype == torch.double)
        return results


@pytest.mark.parametrize(
    ("model", "doubles"), list(zip(MODELS, [True, False, False, False], strict=True))
)
def test_losses_measurements_and_samples_are_computed_on_a_gpu(monkeypatch, model, doubles):
    if not doubles:
        monkeypatch.setattr("vae.evaluation.bounds.WITHOUT_DOUBLES", "cuda")
    with FakeTensorMode(), contextlib.nullcontext() if doubles else WithoutDoubles():
        run, pixels, noise = fake("cuda:0", model)
        vae, x = run.model, run.model.scaled(pixels)
        for draws, gradient in OBJECTIVES:
            noises = noise.expand(draws, -1, -1)
            value, terms = loss(vae, x, noises, torch.tensor(0.5), gradient=gradient)
            assert {tensor.device.type for tensor in (value, *terms)} == {"cuda"}
        at_rest = elbo_at_rest(vae, pixels, noise[0])
        assert at_rest[0].device.type == "cuda"
        with pytest.raises(DataDependentOutputException):  # it asks for a number, of no fake tensor
            check_sense(at_rest, 1.0, vae)
        assert evaluate(vae, pixels, 1, 2, None).log_likelihood.device.type == "cpu"
        z = torch.zeros(9, vae.decoded)
        for images in vae.sample(16), vae.sample(16, pixels=True), vae.mean_images(z):
            assert images.device.type == "cuda"


START = """
import sys, torch
from vae.numerics import start
start(torch.device("cuda"), portable=True)
assert torch.are_deterministic_algorithms_enabled()
assert not torch.backends.cudnn.allow_tf32
assert not torch.utils.deterministic.fill_uninitialized_memory
assert "torch._inductor" not in sys.modules
"""


def test_portable_numerics_on_a_gpu_are_deterministic_and_load_no_compiler():
    subprocess.run([sys.executable, "-c", START], check=True)
