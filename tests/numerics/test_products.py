"""Matrix products have sides of which Intel's and AMD's processors give the same bits."""

import os
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from tests.models import architecture, new_run, prepared
from vae import VAE
from vae.evaluation.bounds import evaluate
from vae.numerics import generator, govern, linear, machine, settle
from vae.numerics.products import Linear, Rule
from vae.training.loop import final_metrics, fit, train_epoch


@pytest.fixture(autouse=True)
def portable(monkeypatch):
    monkeypatch.setattr(Rule, "portable", True)


def test_linear_is_torchs_in_value_and_gradient_for_all_shapes():
    sides = 1, 5, 12, 192, 193, 256, 257
    for rows, into, out in [
        *product([(1,), (31,), (5, 40), (3, 2, 36)], sides, sides),
        ((0,), 5, 3),
    ]:
        tensors = torch.randn(*rows, into), torch.randn(out, into), torch.randn(out)
        tensors = [tensor.double().requires_grad_() for tensor in tensors]
        for used in (2, 3):  # without a bias and with one
            results = []
            for function in linear, F.linear:
                value = function(*tensors[:used])
                gradients = torch.autograd.grad(value.square().sum(), tensors[:used])
                results.append((value, *gradients))
            torch.testing.assert_close(*results)


class Sides(TorchDispatchMode):
    """Records the sides of every product of matrices, forwards and backwards."""

    def __init__(self):
        super().__init__()
        self.seen, self.results = set(), set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in ("mm", "addmm"):
            first, second = args[-2:]
            self.seen |= {*first.shape, *second.shape}
            self.results.add((len(first), second.shape[1]))
        assert name not in ("bmm", "baddbmm", "mv", "addmv", "dot", "linear", "convolution"), name
        return function(*args, **(kwargs or {}))


@pytest.fixture
def sides(monkeypatch):
    """Checks the products of a test at its end."""
    rows, torchs = set(), F.linear

    def watched(x, *others):
        rows.add(x.numel() // x.shape[-1])
        return torchs(x, *others)

    monkeypatch.setattr(F, "linear", watched)
    with Sides() as mode:
        yield
    assert mode.seen
    assert min(mode.seen) >= 12
    assert not mode.seen & {*range(193, 257)}
    assert min(rows) >= 32
    assert not [its for its in mode.results if its[0] < its[1] < 48 or max(its) < 16]


NARROW = {
    "shape": (2, 10, 10), "latent_dim": 2, "settings": {"hidden_dims": [250, 6]},
    "posterior": "flow", "prior": "mixture",
}  # fmt: skip


@pytest.mark.parametrize(
    ("batch", "shards", "draws"), [(1, 1, 1), (7, 1, 5), (31, 1, 1), (200, 1, 5), (64, 2, 1)]
)
def test_training_has_products_of_allowed_sides(sides, batch, shards, draws):
    images = prepared(2 * batch - 1, NARROW["shape"])  # the last batch is smaller
    run = new_run(images, NARROW, batch_size=batch, shards=shards, importance_samples=draws)
    train_epoch(run, images.pixels, generator("cpu", 0, "noise"), 1)


@pytest.mark.parametrize("count", [1, 31, 216, 501])  # the last in blocks of 251 and 250
def test_evaluation_and_samples_have_products_of_allowed_sides(sides, count):
    images, model = prepared(count, NARROW["shape"]), VAE(architecture(**NARROW))
    evaluate(model, images.pixels, 1, 2, generator("cpu", 0, "noise"), proposal_steps=1)
    final_metrics(model, 0, images, images)
    model.reconstruct(images.pixels)
    model.log_likelihood(images.pixels, 1)
    model.sample(count, pixels=True)
    model.decode(torch.zeros(count, 2))
    list(fit(new_run(images, NARROW, epochs=1, grids=1), images, images))


@pytest.mark.parametrize(
    ("layer", "mode", "threads"),
    [(nn.ReLU(), "AVX2,STRICT", 4), (nn.BatchNorm1d(6), "COMPATIBLE", 1)],
)
def test_a_network_of_linear_layers_alone_has_the_same_bits_in_avx2(
    monkeypatch, layer, mode, threads
):
    monkeypatch.setenv("MKL_CBWR", "AVX2,STRICT")
    monkeypatch.setattr(machine, "_share", share := machine.Share(4))
    before, network = torch.get_num_threads(), nn.Sequential(nn.Linear(64, 6), layer)
    govern(network)
    settle([network])
    torch.set_num_threads(before)
    assert type(network[0]) is Linear
    assert (os.environ["MKL_CBWR"], share.most) == (mode, threads)
