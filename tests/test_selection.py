"""Which weights training hands over."""

import pytest
import torch

from stages.selection import Selection


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
