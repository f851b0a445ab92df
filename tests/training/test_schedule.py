"""Learning rates over training."""

import pytest

from vae.training.schedule import WARM_UP, learning_rate

STEPS = 1000


def rates(schedule: str) -> list[float]:
    return [learning_rate(schedule, 0.004, step, STEPS) for step in range(1, STEPS + 1)]


def test_constant_is_constant():
    assert set(rates("constant")) == {0.004}


def test_one_cycle_rises_to_its_peak_and_falls_to_nearly_nothing():
    values = rates("one_cycle")
    top = values.index(max(values))
    assert values[:top] == sorted(values[:top])
    assert values[top:] == sorted(values[top:], reverse=True)
    assert top / STEPS == pytest.approx(WARM_UP, abs=2 / STEPS)
    assert values[top] == pytest.approx(0.004, rel=0.01)
    assert 0 < values[0] < 0.004 * 0.03
    assert 0 < values[-1] < 0.004 * 0.002
