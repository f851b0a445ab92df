"""Parameters are understood as people write them, and refused with one line that says why."""

from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import dvc.utils.serialize
import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from benchmarks.ours import preset
from pipeline.params import _with_networks_settings, load_params, load_yaml
from tests.project import ROOT, committed, file_with
from vae.errors import UserError
from vae.model import NETWORKS
from vae.model.networks import Network


def load_with(folder: Path, changes: dict[str, str]):
    """Loads the defaults with parameters replaced by YAML text."""
    path = folder / "params.yaml"
    path.write_text(file_with({name: yaml.safe_load(text) for name, text in changes.items()}))
    return load_params(path)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("train.learning_rate", "1e-06", 1e-6),  # what `-S` writes
        ("train.kl_weight", "1", 1.0),  # an int to YAML
        ("train.device", "cuda:1", "cuda:1"),
        ("model.hidden_dims", "[64]", (64,)),
        ("prepare.mirror", "http://localhost:8000/mnist/", "http://localhost:8000/mnist"),
    ],
)
def test_values_as_people_write_them(tmp_path, name, text, value):
    result = attrgetter(name)(load_with(tmp_path, {name: text}))
    assert result == value
    assert type(result) is type(value)


def refusal(load, *arguments) -> str:
    with pytest.raises(UserError) as error:
        load(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("train.epoch", "3", "train.epoch = 3 is not a parameter; did you mean train.epochs?"),
        ("train.epochs", "0", "train.epochs = 0: should be greater than or equal to 1"),
        ("train.epochs", "true", "train.epochs = True: should be a number, not true or false"),
        ("train.seed", str(2**64), "train.seed = 18446744073709551616: should be less"),
        ("train.learning_rate", ".nan", "train.learning_rate = nan: should be a finite number"),
        ("train.kl_weight", "1e40", "train.kl_weight = 1e+40: should be less than or equal to"),
        ("train.device", "gpu", "train.device = 'gpu': should be cpu, cuda, cuda:N, mps or auto"),
        ("model.network", "cnn", "model.network = 'cnn': should be 'mlp', "),
        ("model.hidden_dims", "[]", "model.hidden_dims has 0 layers: should be 1 to 100"),
        ("model.hidden_dims", "[512, 0]", "model.hidden_dims = 0: should be 1 to 1,000,000"),
        ("prepare.folder", "''", "prepare.folder = '': String should have at least 1 char"),
        ("prepare.mirror", "'http://[::1'", "prepare.mirror = 'http://[::1': should be null or"),
    ],
)
def test_bad_value_is_refused_in_one_line(tmp_path, name, text, words):
    assert words in refusal(load_with, tmp_path, {name: text})


@dataclass(frozen=True)
class Wide(Network):
    channels: float = 1.0  # an integer in others


def test_a_networks_setting_has_the_type_that_it_has_in_others(monkeypatch):
    monkeypatch.setitem(NETWORKS, "wide", f"{__name__}:Wide")
    with pytest.raises(TypeError, match=r"^Wide\.channels: a network's setting has"):
        _with_networks_settings()


SEVERAL = {"train.importance_samples": "2", "train.kl_weight": "1"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train.importance_samples": "2"}, "bound of several draws has no KL to weigh"),
        (SEVERAL | {"train.gradient": "stl"}, "importance_samples = 2: stl is for one draw"),
        ({"evaluate.precision": "bfloat16"}, "set evaluate.numerics to native"),
        ({"train.gradient": "stl", "train.objective": "free_groups"}, "no such estimator"),
        ({"train.shards": "5"}, "should be a multiple of it"),
        ({"model.likelihood": "logistic"}, "256 levels, not of 2; set prepare.binarization to no"),
        ({"prepare.binarization": "none"}, "2 levels, not of 256; set prepare.binarization to t"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused_in_one_line(tmp_path, changes, words):
    assert words in refusal(load_with, tmp_path, changes)


@pytest.mark.parametrize("path", sorted((ROOT / "presets").iterdir()), ids=lambda path: path.name)
def test_a_preset_after_the_original_is_what_dvc_makes_of_it(path, tmp_path, monkeypatch):
    """Parameters are given several times, and the last counts. The original has the defaults, and
    sets whatever any other sets.
    """
    (tmp_path / "params.yaml").write_text(committed("params.yaml"))
    monkeypatch.chdir(tmp_path)
    expected = preset(path)
    assert (expected == load_params()) == (path.name == "original")
    original, own = (its.read_text().split()[1::2] for its in (path.with_name("original"), path))
    assert {its.split("=")[0] for its in own} <= {its.split("=")[0] for its in original}
    apply_overrides("params.yaml", original + own)
    assert load_params() == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: [", "is not valid YAML: while parsing"),
        ("", "should be a valid dictionary"),
        ("train: " + "[" * 600, "is not valid YAML: maximum recursion depth exceeded"),
        ("train: {epochs: 1}\ntrain: {epochs: 2}", 'found duplicate key "train"'),
    ],
)
def test_a_file_that_holds_no_parameters_is_refused_in_one_line(tmp_path, text, words):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    assert words in refusal(load_params, path)


@pytest.mark.parametrize(
    "text",
    [
        "mirror: https://secret@host/", "mirror: 'https://user:a secret@host/'",
        "mirror: https://user:secret/@host/", "mirror: https://user:a@secret@host/",
        f"mirror: https://user:{'secret' * 20}@host/", "mirror: user:secret@host/",
        "mirrors: https://user:secret@host/", "mirror: {a: 'https://user:secret@host/'}",
        "mirror: [https://user:secret@host/", "mirror: *https://user:secret@host/",
        "mirror: https://user:secret@host/\n  mirror: https://user:secret@host/",
        "https://user:secret@host/: null",
    ],
)  # fmt: skip
def test_a_url_with_a_password_is_refused_without_printing_it(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(committed("params.yaml").replace("mirror: null", text))
    with pytest.raises(UserError) as error:
        load_params(path)
    assert "secret" not in str(error.value)
    assert 1 <= len(str(error.value).splitlines()) <= 2


def test_numbers_are_read_as_dvc_reads_them(tmp_path):
    path = tmp_path / "params.yaml"
    for text in ("010", "0100", "1:30", "no", "1e-3", "0o17", "1_000"):
        path.write_text(f"value: {text}")
        assert load_yaml(path) == dvc.utils.serialize.load_yaml(path), text


def test_a_missing_parameter_and_a_missing_file_are_named(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(committed("params.yaml").replace("  epochs: ", "  # "))
    assert "train.epochs is missing" in refusal(load_params, path)
    words = "is missing: run from the project's root"
    assert words in refusal(load_params, tmp_path / "nowhere.yaml")
    assert "cannot be read: Is a directory" in refusal(load_params, tmp_path)
