"""A recorded step is the plain step, bit for bit. Without a GPU, its parts run without a graph."""

from itertools import cycle, product

import pytest
import torch

from tests.models import new_run, prepared
from vae.model import LIKELIHOODS, NETWORKS, POSTERIORS, PRIORS
from vae.training.loop import train_epoch
from vae.training.recorded import WARM_UP, Recorded

OBJECTIVES = [(1, "reparameterized"), (1, "stl"), (3, "reparameterized"), (3, "dreg")]
KINDS = list(product(LIKELIHOODS, POSTERIORS, PRIORS, NETWORKS))


def pair(model: dict, images, **settings):
    """Two equal runs, one with a recorded step."""
    plain, recorded = (new_run(images, model, **settings) for _ in range(2))
    recorded.step = Recorded(recorded.model, recorded.optimizer, recorded.settings)
    return plain, recorded


def assert_same_epochs(plain, recorded, pixels, epochs):
    for epoch in epochs:
        its = [train_epoch(run, pixels, noise(epoch), epoch) for run in (plain, recorded)]
        assert torch.equal(*its)
    for name, value in plain.state().items():
        assert torch.equal(recorded.state()[name], value), name


def noise(epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(epoch)


@pytest.mark.parametrize(("kind", "objective"), list(zip(KINDS, cycle(OBJECTIVES))))
def test_recorded_steps_are_the_plain_ones(kind, objective):
    (likelihood, posterior, prior, network), (draws, gradient) = kind, objective
    parts = {"network": network, "posterior": posterior, "prior": prior, "likelihood": likelihood}
    images = prepared(10, levels=2 if likelihood == "bernoulli" else 256)
    options = {"importance_samples": draws, "gradient": gradient, "schedule": "one_cycle"}
    runs = pair(parts, images, batch_size=4, epochs=2, weight_decay=0.1, **options)
    assert_same_epochs(*runs, images.pixels, [1, 2])


def test_each_size_of_batch_is_recorded_once_and_then_repeated(monkeypatch):
    """Here a recording is the step itself: what a graph would repeat, Python repeats."""
    recordings = []

    def record(step, size):
        recordings.append(size)
        step.replay[size] = lambda: step.step(size)

    monkeypatch.setattr(Recorded, "record", record)
    images = prepared(22)
    plain, recorded = pair({}, images, batch_size=4, epochs=5)
    recorded.step.records = True
    assert_same_epochs(plain, recorded, images.pixels, range(1, WARM_UP + 2))
    assert recordings == [4, 2]  # the last batch has its fourth step in the fourth epoch
    plain.restore(saved := recorded.state(), [])
    again = new_run(images, {}, batch_size=4, epochs=5)
    again.restore(saved, [])
    assert_same_epochs(recorded, again, images.pixels, [5])  # resumed without a graph


def test_what_cannot_be_recorded_is_said_once_and_done_plainly(monkeypatch, capsys):
    def unable(*_):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr("torch.cuda.CUDAGraph", lambda: None)
    monkeypatch.setattr("torch.cuda.graph", unable)
    images = prepared(20)
    plain, recorded = pair({}, images, batch_size=4, epochs=2)
    recorded.step.records = True
    assert_same_epochs(plain, recorded, images.pixels, [1, 2])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("steps are not recorded, which would be faster: operation not permitted")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("network", NETWORKS)
def test_a_graph_on_a_gpu_gives_the_bits_of_the_plain_step(network):
    images = prepared(22).to(torch.device("cuda"))
    plain, recorded = pair({"network": network, "posterior": "flow"}, images, batch_size=4)
    for epoch in range(1, 7):
        streams = [torch.Generator("cuda").manual_seed(epoch) for _ in range(2)]
        its = [
            train_epoch(run, images.pixels, stream, epoch)
            for run, stream in zip((plain, recorded), streams, strict=True)
        ]
        assert torch.equal(*its)
    assert recorded.step.replay.keys() == {4, 2}
