"""The library measures a model as tests/double.py does, which shares no code with it."""

import numpy as np
import pytest
import torch

from tests import double
from tests.models import architecture, prepared
from vae import VAE
from vae.evaluation.bounds import evaluate
from vae.model.objectives import loss

# Not from the library's tables: a new part needs its formulas in the double first.
POSTERIORS = ["bounded", "gaussian", "flow"]
LIKELIHOODS = {"bernoulli": ((1, 8, 8), 1), "logistic": ((3, 8, 4), 255)}  # shape, highest level
MLP = {"hidden_dims": [24, 24, 10]}  # without a flow, the last layer is as wide as its input
NETWORKS = {"mlp": MLP, "residual mlp": MLP | {"residual": True}, "conv": {"channels": 2}}


@pytest.fixture(autouse=True)
def default_dtype():
    yield
    torch.set_default_dtype(torch.float32)


@torch.no_grad()
def differences(path, precision, network, likelihood, spread=-3.0, **parts) -> dict[str, float]:
    """Between the library and the double, relative to the value or, if it is smaller, to 1: the
    largest of any image. The model's weights are random; `spread` makes q(z|x) wide or narrow.
    """
    torch.set_default_dtype(precision)  # `VAE.double` would leave some constants in single
    torch.manual_seed(0)
    shape, top = LIKELIHOODS[likelihood]
    parts |= {"likelihood": likelihood, "settings": NETWORKS[network], "shape": shape}
    model = VAE(architecture(network.split()[-1], latent_dim=5, **parts))
    for parameter in model.parameters():  # some are zero at first
        parameter += 0.15 * torch.randn_like(parameter)
    list(model.encoder.parameters())[-1][5:10] += spread
    model.save(path)
    model, its = VAE.load(path), double.read(path)
    pixels = prepared(7, shape, top + 1).pixels
    if precision == torch.float64:  # the library scales to single precision
        model.scaled = lambda pixels: pixels.double() / top
    x, stream = model.scaled(pixels), torch.Generator().manual_seed(1)
    noise = torch.stack([torch.randn(7, 5, generator=stream) for _ in range(13)])
    reconstruction, kl, log_ratio = double.measure(its, pixels.numpy() / top, noise.numpy())
    log_w, q = reconstruction - log_ratio, model.posterior(x)
    terms, parts = (f(x, q, q.draw(noise)) for f in (model.elbo_terms, model.log_weights))
    result = evaluate(model, pixels, 2, 11, stream.manual_seed(1))  # two draws for the ELBO
    log_p = model.log_likelihood(pixels, 3, stream.manual_seed(1))
    pairs = {
        "log p(x|z)": (terms[0], reconstruction),
        "KL": (terms[1], kl),
        "log weights": (parts[0] - parts[1], log_w),
        "loss": (-loss(model, x, noise, x.new_zeros(()))[0], double.bound(log_w, 13).mean()),
        "log_likelihood": (log_p, double.bound(log_w[:3], 3)),
        "mean log p(x|z)": (result.reconstruction, reconstruction[:2].mean(0)),
        "mean KL": (result.kl, kl[:2].mean(0)),
        "effective samples": (result.effective_samples, double.effective_samples(log_w[2:])),
    }
    for k in 1, 10, 11:
        pairs[f"bound of {k}"] = result.bound(k).mean(), double.bound(log_w[2:], k)
    return {
        name: (np.abs(measured.numpy() - expected) / np.maximum(1, np.abs(expected))).max()
        for name, (measured, expected) in pairs.items()
    }


@pytest.mark.parametrize("prior", ["standard", "mixture"])
@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("precision", [torch.float32, torch.float64], ids=str)
def test_a_model_measures_what_the_papers_formulas_say(
    tmp_path, precision, network, likelihood, posterior, prior
):
    parts = {"posterior": posterior, "prior": prior}
    found = differences(tmp_path / "vae", precision, network, likelihood, **parts)
    most = 3e-4 if precision == torch.float32 else 1e-11
    assert all(difference < most for difference in found.values()), found


@pytest.mark.parametrize("spread", [-60.0, 60.0])
@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_it_does_so_at_the_limits_of_scales(tmp_path, likelihood, posterior, spread):
    parts = {"posterior": posterior, "spread": spread}
    found = differences(tmp_path / "vae", torch.float64, "mlp", likelihood, **parts)
    assert all(difference < 1e-5 for difference in found.values()), found
