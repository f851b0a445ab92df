"""A sweep's experiments are named after what they are, and checked before any work."""

import pytest

from sweeps.grid import grid
from tests.project import ROOT
from vae.errors import UserError


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)


def names(*settings: str, commit: str = "c0") -> set[str]:
    return {experiment.name for experiment in grid(settings, commit)}


def test_each_combination_is_an_experiment_and_brackets_hold_a_value_together():
    settings = "model.hidden_dims=[512,64],[300]", "train.seed=range(2)", "prepare.mirror=null"
    assert [" ".join(experiment.overrides) for experiment in grid(settings, "c0")] == [
        "model.hidden_dims=[512,64] train.seed=0 prepare.mirror=null",
        "model.hidden_dims=[512,64] train.seed=1 prepare.mirror=null",
        "model.hidden_dims=[300] train.seed=0 prepare.mirror=null",
        "model.hidden_dims=[300] train.seed=1 prepare.mirror=null",
    ]


def test_a_name_says_what_the_experiment_is_however_it_is_written():
    written = names("train.kl_weight=1,0.5", "train.seed=1,2")
    assert len(written) == 4
    assert names("train.seed=2,1", "train.kl_weight=0.50,1.0") == written
    assert not names("train.kl_weight=1,0.5", "train.seed=1,2", commit="c1") & written
    assert not names("train.kl_weight=1,0.5", "train.seed=3,4") & written


@pytest.mark.parametrize(
    "values",
    [
        "train.kl_weight=0,0.0,-0.0,-0,1e-400", "train.learning_rate=1e-3,0.001,1.0e-3",
        "train.epochs=1,1.0", "model.hidden_dims=[512,64],[512.0,64]",
    ],
)  # fmt: skip
def test_a_value_is_one_experiment_however_it_is_written(values):
    assert len(grid([values], "c0")) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["train.kl_wieght=1,2"], "not a parameter; did you mean train.kl_weight?"),
        (["train.kl_weight=1,heavy"], "-S: train.kl_weight = 'heavy': should be a valid number"),
        (["train.kl_weight=[1,"], "cannot be used"),
        (["train.seed=1,2", "train.epochs=range(0,0)"], "(train.epochs=range(0,0) has no value: "),
        (["train.epochs=shuffle(range(3,3))"], "has no value"),
        (["~train.seed"], "should be a valid integer"),
    ],
)  # fmt: skip
def test_errors_take_one_or_two_lines(settings, message):
    with pytest.raises(UserError) as refusal:
        grid(settings, "c0")
    assert message in str(refusal.value)
    assert len(str(refusal.value).splitlines()) <= 2


@pytest.mark.parametrize("other", ["train.seed=1", "train.seed=[1,", "train.seed=range(0,0)"])
@pytest.mark.parametrize("odd", ["", "[", "'", "&"])
def test_a_password_in_a_setting_is_not_printed(odd, other):
    for value in f"https://user:secret{odd}@host/", f"[https://user:secret{odd}@host/":
        with pytest.raises(UserError) as refusal:
            grid([other, f"prepare.mirror={value}"], "c0")
        assert "secret" not in str(refusal.value)
