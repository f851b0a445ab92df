"""Learning rates over training."""

import pytest

from vae.training.schedule import learning_rate


def test_one_cycle_rises_to_its_peak_and_falls_to_nearly_nothing():
    values = [learning_rate("one_cycle", 0.004, step, 1000) for step in range(1, 1001)]
    top = values.index(max(values))
    assert values[:top] == sorted(values[:top])
    assert values[top:] == sorted(values[top:], reverse=True)
    assert top == pytest.approx(300, abs=2)
    assert values[top] == pytest.approx(0.004, rel=0.01)
    assert 0 < values[0] < 0.004 * 0.03
    assert 0 < values[-1] < 0.004 * 0.002
    assert {learning_rate("constant", 0.004, step, 1000) for step in (1, 300, 1000)} == {0.004}
