"""This project's training, an epoch at a time, as `dvc repro` runs it; and its presets."""

from collections.abc import Callable
from pathlib import Path

import yaml

from stages.dataset import load_images
from stages.mlp import FlatAdam
from stages.params import Params, load_params
from stages.runtime import start
from stages.train import fit, new_model


def our_epochs() -> Callable[[], float]:
    """A function that trains one more epoch, validation included, and returns its train ELBO."""
    start("cpu", "train.device")
    params = load_params()
    train = load_images("data/train.safetensors")
    validation = load_images("data/validation.safetensors")
    model = new_model(params, train)
    endless = params.train.model_copy(update={"epochs": 10**9})
    rows = fit(model, FlatAdam(model), endless, train, validation)
    return lambda: next(rows)["train_elbo"]


def preset(name: str) -> Params:
    """The parameters of `dvc exp run $(cat presets/NAME)`."""
    content = load_params().model_dump()
    for line in Path("presets", name).read_text().splitlines():
        key, _, value = line.removeprefix("-S ").partition("=")
        section, entry = key.split(".")
        content[section][entry] = yaml.safe_load(value)
    return Params.model_validate(content)
