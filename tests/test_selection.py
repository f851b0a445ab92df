"""Which weights training hands over."""

from pathlib import Path

import pytest
import torch

from benchmarks.ours import changed
from stages.checkpoint import Checkpoint
from stages.dataset import Images
from stages.fitting import Run, fit
from stages.params import load_params
from stages.selection import Selection
from tests.models import random_images


def after(ema: float, keep: str, elbos: list[float]) -> tuple[Selection, torch.Tensor]:
    """One step an epoch; after step n all weights are n."""
    vector = torch.zeros(3)
    selection = Selection(vector, ema, keep)
    for step in range(1, len(elbos) + 1):
        vector.fill_(step)
        selection.after_step(step)
        selection.after_epoch(elbos[:step])
    return selection, vector


@pytest.mark.parametrize(("keep", "expected"), [("last", 4), ("best", 2)])
def test_the_last_or_the_best_weights_are_handed_over(keep, expected):
    selection, vector = after(0, keep, [-9, -5, -7, -6])
    assert vector.tolist() == [4, 4, 4]
    selection.hand_over()
    assert vector.tolist() == [expected] * 3


@pytest.mark.parametrize("keep", ["last", "best"])
def test_the_average_decays_and_is_what_is_measured_and_handed_over(keep):
    selection, vector = after(0.9, keep, [-4, -3, -2, -1])
    average = 0.0
    for step in range(1, 5):
        decay = min(0.9, step / (10 + step))
        average = decay * average + (1 - decay) * step
    with selection.at_rest():
        torch.testing.assert_close(vector, torch.full((3,), average))
    assert vector.tolist() == [4, 4, 4]
    selection.hand_over()
    torch.testing.assert_close(vector, torch.full((3,), average))


@pytest.mark.parametrize(
    ("ema", "keep", "names"),
    [(0, "last", set()), (0.9, "last", {"average"}), (0.9, "best", {"average", "best"})],
)
def test_only_what_is_needed_is_kept(ema, keep, names):
    assert set(Selection(torch.zeros(3), ema, keep).state()) == names


def test_averaged_and_best_weights_survive_a_stop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = changed(
        load_params(Path(__file__).parent.parent / "params.yaml"),
        model={"hidden_dims": [20], "prior": "mixture", "posterior": "gaussian"},
        train={"epochs": 4, "ema": 0.9, "keep": "best", "learning_rate": 0.02, "kl_weight": 1},
    )
    pixels = random_images(100).to(torch.uint8)
    images = Images(pixels, torch.zeros(100, dtype=torch.uint8), False, "threshold 128")

    whole = Run.new(params, images)
    list(fit(whole, images, images))
    stopped, checkpoint = Run.new(params, images), Checkpoint("name")
    epochs = fit(stopped, images, images)
    for _ in range(2):
        next(epochs)
    checkpoint.save(stopped.state(), stopped.rows)
    resumed = Run.new(params, images)
    resumed.rows = checkpoint.restore(resumed.state())
    assert len(resumed.rows) == 2
    list(fit(resumed, images, images))
    assert resumed.rows == whole.rows
    assert torch.equal(resumed.optimizer.vector, whole.optimizer.vector)
