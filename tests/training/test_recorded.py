"""A recorded step is the plain step, bit for bit. Without a GPU, its parts run without a graph."""

from functools import partial
from itertools import cycle, product

import pytest
import torch

from tests.models import new_run, prepared
from vae.model import LIKELIHOODS, NETWORKS, POSTERIORS, PRIORS
from vae.training.loop import train_epoch
from vae.training.recorded import COMPILED_FROM, WARM_UP, Recorded
from vae.training.steps import Plain

OBJECTIVES = [(1, "reparameterized"), (1, "stl"), (3, "reparameterized"), (3, "dreg")]
KINDS = list(product(LIKELIHOODS, POSTERIORS, PRIORS, NETWORKS))[::5]  # each part of each kind


def pair(model: dict, images, steps: int = 1, **settings):
    """Two equal runs, of which the second records its steps."""
    plain, recorded = (new_run(images, model, **settings) for _ in range(2))
    recorded.step = Recorded(recorded.model, recorded.optimizer, recorded.settings, steps)
    return plain, recorded


def assert_same_epochs(plain, recorded, pixels, epochs):
    for epoch in epochs:
        streams = [torch.Generator(pixels.device).manual_seed(epoch) for _ in range(2)]
        runs = zip((plain, recorded), streams, strict=True)
        assert torch.equal(*(train_epoch(run, pixels, stream, epoch) for run, stream in runs))
    for name, value in plain.state().items():
        assert torch.equal(recorded.state()[name], value), name


@pytest.fixture
def recordings(monkeypatch) -> list[int]:
    """What a graph would repeat, Python repeats: the step, from the same memory to the same."""
    made = []

    def record(step: Recorded, size: int) -> None:
        def replay() -> None:
            step.terms[size].copy_(Plain.__call__(step, *step.inputs[size]))

        made.append(size)
        step.terms[size], step.replay[size] = torch.empty(2, size), replay

    monkeypatch.setattr(Recorded, "record", record)
    return made


@pytest.mark.parametrize(("kind", "objective"), list(zip(KINDS, cycle(OBJECTIVES))))
def test_recorded_steps_are_the_plain_ones(recordings, kind, objective):
    (likelihood, posterior, prior, network), (draws, gradient) = kind, objective
    parts = {"network": network, "posterior": posterior, "prior": prior, "likelihood": likelihood}
    images = prepared(22, levels=2 if likelihood == "bernoulli" else 256)
    parts["classes"] = 10 if draws > 1 and "ladder" not in kind and "levels" not in kind else 0
    options = {"importance_samples": draws, "gradient": gradient, "schedule": "one_cycle"}
    plain, recorded = pair(parts, images, batch_size=4, epochs=5, weight_decay=0.1, **options)
    pixels = plain.model.labelled(images.pixels, images.labels)
    assert_same_epochs(plain, recorded, pixels, range(1, WARM_UP + 1))
    assert recordings == [4]  # an epoch has one step with the smaller last batch
    assert_same_epochs(plain, recorded, pixels, [WARM_UP + 1])
    assert recordings == [4, 2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("posterior", "gradient"), [("flow", "dreg"), ("ladder", "reparameterized")]
)
def test_a_long_training_compiles_its_loss_into_one_graph(
    recordings, monkeypatch, posterior, gradient
):
    """Without the compiler's own kernels, which no processor shares with a GPU."""
    compile_ = partial(torch.compile, backend="aot_eager", fullgraph=True)
    monkeypatch.setattr("torch.compile", compile_)
    images, model = prepared(10), {"posterior": posterior, "prior": "mixture"}
    options = {"gradient": gradient, "importance_samples": 3, "batch_size": 4, "epochs": 2}
    plain, recorded = pair(model, images, steps=COMPILED_FROM, **options)
    assert recorded.step.loss is not plain.step.loss
    with torch._dynamo.config.patch(suppress_errors=False):
        assert_same_epochs(plain, recorded, images.pixels, [1, 2])


def test_a_run_is_resumed_while_and_before_its_steps_are_recorded(recordings):
    images = prepared(22)
    plain, recorded = pair({}, images, batch_size=4, epochs=3)
    assert_same_epochs(plain, recorded, images.pixels, [1])
    saved = {name: value.clone() for name, value in recorded.state().items()}
    train_epoch(recorded, images.pixels, torch.Generator(), 2)  # which is thrown away
    _, again = pair({}, images, batch_size=4, epochs=3)
    recorded.restore(saved, [])
    again.restore(saved, [])
    assert_same_epochs(recorded, again, images.pixels, [2, 3])


def test_what_cannot_be_recorded_is_said_once_and_done_plainly(monkeypatch, capsys):
    def unable(*_):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr("torch.cuda.CUDAGraph", unable)
    images = prepared(20)
    plain, recorded = pair({}, images, batch_size=4, epochs=2)
    assert_same_epochs(plain, recorded, images.pixels, [1, 2])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("steps are not recorded, which would be faster: operation not permitted")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("network", NETWORKS)
def test_a_graph_on_a_gpu_gives_the_bits_of_the_plain_step(network):
    images = prepared(22).to(torch.device("cuda"))
    plain, recorded = pair({"network": network, "posterior": "flow"}, images, batch_size=4)
    plain.step = Plain(plain.model, plain.optimizer, plain.settings)
    assert_same_epochs(plain, recorded, images.pixels, range(1, 7))
    assert recorded.step.replay.keys() == {4, 2}
