"""Reads the numbers, tables and pictures that the pipeline has written."""

import base64
import csv
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vae.errors import UserError, in_short

OF_SPLITS = [  # the numbers of each split, which the test images have in metrics/test.json
    "elbo", "elbo_stderr", "reconstruction", "kl", "log_likelihood", "log_likelihood_stderr",
    "importance_samples",
]  # fmt: skip
METRICS = [*OF_SPLITS, "active_units", "bits_per_dimension"]
COLUMNS = {
    "training": [
        "epoch", "train_elbo", "validation_elbo", "train_reconstruction",
        "validation_reconstruction", "train_kl", "validation_kl",
    ],
    "splits": ["split", *OF_SPLITS],
    "bounds": ["k", "bound", "stderr"],
    "units": ["dimension", "kl", "variance_of_mean"],
}  # fmt: skip
PICTURES = "samples", "reconstructions", "latent", "interpolations", "traversals"


@dataclass(frozen=True)
class Picture:
    name: str  # its file's name without .png
    source: str  # a data: URL
    width: int
    height: int


def load_metrics() -> dict[str, float]:
    """The numbers of metrics/test.json. Raises UserError if it is missing or damaged."""
    path = Path("metrics/test.json")
    try:
        content = json.loads(_read(path))
        return {name: _number(content[name]) for name in METRICS}
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from None


def load_table(name: str) -> list[dict[str, float | str]]:
    """The rows of plots/<name>.csv. All values are numbers, except in a column `split`.

    Raises UserError if the file is missing, empty or damaged.
    """
    path = Path(f"plots/{name}.csv")
    try:
        lines = list(csv.DictReader(io.StringIO(_read(path).decode())))
        if not lines:
            raise ValueError("it has no rows")
        return [
            {key: row[key] if key == "split" else _number(row[key]) for key in COLUMNS[name]}
            for row in lines
        ]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise _damaged(path, error) from None


def load_pictures() -> tuple[dict[str, Picture], list[Picture]]:
    """The pictures in plots/ by name, with the pipeline's own first, and those in plots/epochs/ in
    the order of the epochs.

    Raises UserError if a picture is damaged, or if one of the pipeline's is missing.
    """
    others = sorted({path.stem for path in Path("plots").glob("*.png")} - set(PICTURES))
    pictures = {name: _picture(Path(f"plots/{name}.png")) for name in [*PICTURES, *others]}
    epochs = [path for path in Path("plots/epochs").glob("*.png") if path.stem.isdecimal()]
    return pictures, [_picture(path) for path in sorted(epochs, key=lambda path: int(path.stem))]


def _picture(path: Path) -> Picture:
    content = _read(path)
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            width, height = image.size
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _damaged(path, error) from None
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return Picture(path.stem, source, width, height)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing.\nMake it: dvc repro") from None


def _number(value: object) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not a finite number")
    return number


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} is damaged ({in_short(error)}).\nDelete it and make it again: dvc repro"
    )
