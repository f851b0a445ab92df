"""Every tensor is on the model's device, which fake tensors of another device show without a GPU.

An operation on tensors of two devices raises FakeTensorDeviceMismatchError. The device is CUDA,
except for a step of training: there autograd asks for the driver, and torch's device `lazy` stands
in for it.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.models import params
from vae import VAE
from vae.evaluation.bounds import evaluate
from vae.evaluation.elbo import elbo_at_rest
from vae.evaluation.walks import decoded
from vae.model import NETWORKS, PRIORS
from vae.model.architecture import Architecture
from vae.model.objectives import loss
from vae.training.loop import update
from vae.training.optimizer import AdamW
from vae.training.run import Run

OBJECTIVES = [(1, "reparameterized"), (3, "reparameterized"), (1, "stl"), (3, "dreg")]
every_model = [(network, prior) for network in NETWORKS for prior in PRIORS]


def fake(device: str, network: str, prior: str, draws: int = 1):
    """A run, images [40, 784] and noise [draws, 40, 3] on a fake device."""
    settings = params({"network": network, "prior": prior}, kl_weight=1.0)
    with torch.device(device):
        model = VAE(Architecture(**settings.model.model_dump()))
        run = Run(settings.train, model, AdamW(model, 0.1), {}, {}, [])
        return run, torch.zeros(40, 784), torch.randn(draws, 40, 3)


@pytest.mark.parametrize(("network", "prior"), every_model)
@pytest.mark.parametrize(("draws", "gradient"), OBJECTIVES)
def test_a_step_computes_on_the_models_device(network, prior, draws, gradient):
    with FakeTensorMode():
        run, x, noise = fake("lazy", network, prior, draws)
        run.params = run.params.model_copy(update={"gradient": gradient})
        for _ in range(2):
            terms = update(run, x, noise, 0.001)
        assert all(term.device.type == "lazy" and term.shape == (40,) for term in terms)
        run.restore(run.state(), [])
        update(run, x, noise, 0.001)


@pytest.mark.parametrize(("network", "prior"), every_model)
def test_losses_measurements_and_samples_are_computed_on_a_gpu(network, prior):
    with FakeTensorMode():
        run, x, noise = fake("cuda:0", network, prior)
        for draws, gradient in OBJECTIVES:
            value, *terms = loss(run.model, x, noise.expand(draws, -1, -1), 1.0, gradient)
            assert {tensor.device.type for tensor in (value, *terms)} == {"cuda"}
        assert elbo_at_rest(run.model, x, noise[0])[0].device.type == "cuda"
        assert evaluate(run.model, x, 1, 2, None).log_likelihood.device.type == "cpu"
        assert run.model.sample(16).device.type == "cuda"
        assert decoded(run.model, torch.zeros(16, 3)).device.type == "cpu"
