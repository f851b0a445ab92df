"""The functions are torch's, in value and in gradient, wherever their arguments are."""

import math

import pytest
import torch

from vae import numerics
from vae.numerics import generator, log_mean_exp, mean, mean_and_stderr
from vae.numerics.products import Rule

WIDE = torch.linspace(-80, 80, 10_001)
LOGS = 30 * torch.randn(50, 40, generator=torch.Generator().manual_seed(0)) - 900


REFERENCES = [  # our function, torch's, and the arguments
    (numerics.exp, torch.exp, WIDE),
    (numerics.log, torch.log, torch.logspace(-37, 38, 10_001)),
    (numerics.sigmoid, torch.sigmoid, WIDE),
    (numerics.log_sigmoid, torch.nn.functional.logsigmoid, WIDE),
    (numerics.softplus, lambda x: torch.logaddexp(x, torch.zeros_like(x)), WIDE),
    (numerics.softmax, lambda x: torch.softmax(x, 0), LOGS),
    (numerics.log_sum_exp, lambda x: torch.logsumexp(x, -1), LOGS),
    (lambda x: numerics.log_sum_exp(x, 0), lambda x: torch.logsumexp(x, 0), LOGS),
    (log_mean_exp, lambda x: torch.logsumexp(x, 0) - math.log(50), LOGS),
    (lambda x: numerics.log_add_exp(*x), lambda x: torch.logaddexp(*x), WIDE[1:].view(2, -1) / 2),
]


@pytest.mark.parametrize("portable", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("ours", "torchs", "arguments"), REFERENCES)
def test_value_and_gradient_are_torchs_in_double_precision(
    monkeypatch, ours, torchs, arguments, dtype, portable
):
    monkeypatch.setattr(Rule, "portable", portable)
    results = []
    for function, type_ in (ours, dtype), (torchs, torch.float64):
        x = arguments.clone().to(type_).requires_grad_()
        value = function(x)
        value.backward(torch.linspace(1, 2, value.numel()).view(value.shape).to(type_))
        results.append((value.detach().double(), x.grad.double()))
    error = 1e-6 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(*results, rtol=error, atol=error)
    if ours in (numerics.exp, numerics.sigmoid):  # which may be small
        (value, _), (expected, _) = results
        torch.testing.assert_close(value, expected, rtol=error, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_portable_exp_has_finite_gradients_however_small_it_is(monkeypatch, dtype):
    monkeypatch.setattr(Rule, "portable", True)
    x = torch.tensor([-1e4, -800.0, -100.0, -89.0], dtype=dtype, requires_grad=True)
    value = numerics.exp(x)
    value.sum().backward()
    torch.testing.assert_close(value, x.exp(), rtol=1e-6, atol=1e-38)
    torch.testing.assert_close(x.grad, x.exp(), rtol=1e-6, atol=1e-38)


def test_mean_and_stderr_are_exact_in_any_order():
    values = torch.cat([torch.full((999,), 1e8), torch.full((999,), -1e8), torch.ones(2)])
    shuffled = values[torch.randperm(len(values))]
    assert mean_and_stderr(values) == mean_and_stderr(shuffled)
    assert mean_and_stderr(values)[0] == mean(values) == round(2 / 2000, 4)
    assert mean_and_stderr(torch.tensor([1.0, 2.0, 3.0, 4.0])) == (2.5, 0.6455)
    assert mean_and_stderr(torch.tensor([7.0])) == (7, 0)


def test_each_seed_and_purpose_has_a_stream_of_its_own():
    assert generator("cpu", 0, "noise of epoch 1").initial_seed() == 2798756434104769376
    assert generator("cpu", 1, "noise of epoch 1").initial_seed() != 2798756434104769376
