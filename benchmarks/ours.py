"""Training as `dvc repro` does it, an epoch or a stage at a time, and the presets' parameters."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ruamel.yaml import YAML

from pipeline.params import Params, load_params
from pipeline.stage import start
from vae.images import Images, load_images
from vae.training.loop import fit
from vae.training.run import Run


def our_epochs() -> Callable[[], float]:
    """A function that trains one more epoch, validation included, and returns its train ELBO."""
    start("cpu", "train.device")
    params = load_params()
    train = load_images("data/train.safetensors")
    validation = load_images("data/validation.safetensors")
    endless = changed(params, train={"epochs": 10**6, "grids": 0})
    rows = fit(new_run(endless, train), train, validation)
    return lambda: next(rows)["train_elbo"]


def new_run(params: Params, train: Images) -> Run:
    return Run.new(
        params.model.architecture(train.shape, train.classes), params.train.settings(), train
    )


def changed(params: Params, **sections: dict) -> Params:
    content = params.model_dump()
    for section, changes in sections.items():
        content[section] |= changes
    return Params.model_validate(content)


def preset(name: str | Path, changes: Sequence[str] = ()) -> Params:
    """The parameters of `dvc exp run $(cat presets/original presets/NAME)`, with more changes as
    `-S` takes them.
    """
    sections: dict[str, dict] = {}
    for key, value in settings(name, changes).items():
        section, entry = key.split(".")
        sections.setdefault(section, {})[entry] = YAML(typ="safe").load(value)
    return changed(load_params(), **sections)


def settings(name: str | Path, changes: Sequence[str] = ()) -> dict[str, str]:
    """The text of each parameter that a preset sets. Later ones win, as with `-S`."""
    path = Path("presets", name)
    text = path.with_name("original").read_text() + path.read_text()
    lines = [line.removeprefix("-S ") for line in [*text.splitlines(), *changes]]
    return dict(line.split("=", 1) for line in lines)


def stage(name: str, folder: Path) -> float:
    """Runs a stage; returns its seconds."""
    began = time.perf_counter()
    command = [sys.executable, "-m", f"stages.{name}"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def copied(temporary: str) -> Path:
    """A copy of this folder with uncommitted changes, without Git and what stages have made."""
    unwanted = shutil.ignore_patterns(".*", "*.safetensors", "dvc_plots", "report.html")
    return Path(shutil.copytree(".", Path(temporary, "project"), ignore=unwanted))
