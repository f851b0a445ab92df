"""Training as `dvc repro` does it, an epoch at a time, and the presets' parameters."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ruamel.yaml import YAML

from vae.common.params import Params, load_params
from vae.common.runtime import start
from vae.data.images import load_images
from vae.training.loop import fit
from vae.training.run import Run


def our_epochs() -> Callable[[], float]:
    """A function that trains one more epoch, validation included, and returns its train ELBO."""
    start("cpu", "train.device")
    params = load_params()
    train = load_images("data/train.safetensors")
    validation = load_images("data/validation.safetensors")
    endless = changed(params, train={"epochs": 10**6, "grids": 0})
    rows = fit(Run.new(endless, train), train, validation)
    return lambda: next(rows)["train_elbo"]


def changed(params: Params, **sections: dict) -> Params:
    content = params.model_dump()
    for section, changes in sections.items():
        content[section] |= changes
    return Params.model_validate(content)


def preset(name: str | Path, changes: Sequence[str] = ()) -> Params:
    """The parameters of `dvc exp run $(cat presets/NAME)`, with more changes as `-S` takes them."""
    sections: dict[str, dict] = {}
    for line in [*Path("presets", name).read_text().splitlines(), *changes]:
        key, _, value = line.removeprefix("-S ").partition("=")
        section, entry = key.split(".")
        sections.setdefault(section, {})[entry] = YAML(typ="safe").load(value)
    return changed(load_params(), **sections)
