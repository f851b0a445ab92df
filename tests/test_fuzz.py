"""A stage uses whatever is in a file, or refuses it in one or two lines: parameters, tensors, and
what the report reads. Images: tests/test_fuzz_images.py.
"""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.params import Params, load_params
from report.results import load_metrics, load_table
from tests.fuzz import DAMAGE, FUZZ, damaged, is_used_or_refused, values
from tests.models import prepared, small_vae
from tests.project import DEFAULTS, file_with
from vae import VAE
from vae.images import load_images, save_images
from vae.training.checkpoint import Checkpoint

NAMES = [f"{section}.{name}" for section, its in DEFAULTS.items() for name in its]


@given(name=some.sampled_from(NAMES), value=values)
@FUZZ
def test_any_value_of_any_parameter_is_used_or_refused(tmp_path_factory, name, value):
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_text(file_with({name: value}), encoding="utf-8")
    assert isinstance(is_used_or_refused(load_params, path), Params | None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, reproduced) -> dict[str, bytes]:
    """One file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    model, images = small_vae().float(), prepared(20)
    model.save(folder / "model")
    metadata = {"dataset": "MNIST", "binarization": "threshold", "threshold": "128"}
    save_images(folder / "images", images.pixels, images.labels, metadata)
    Checkpoint(folder / "checkpoint").save(model.state_dict(), [{"epoch": 1}])
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files | {path: reproduced.read(path) for path in READERS if "/" in path}


READERS = {
    "model": lambda: VAE.load("model"), "images": lambda: load_images("images"),
    "checkpoint": lambda: Checkpoint(Path("checkpoint")).read(), "metrics/test.json": load_metrics,
    "plots/units.csv": lambda: load_table("units"),
}  # fmt: skip


@given(path=some.sampled_from(list(READERS)), damage=DAMAGE)
@FUZZ
def test_a_damaged_file_is_used_or_refused(tmp_path_factory, whole, path, damage):
    header = 60 if "/" in path else 8 + int.from_bytes(whole[path][:8], "little")
    content = damaged(whole[path], **damage, header=header)
    file = tmp_path_factory.getbasetemp() / "damaged" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    with contextlib.chdir(tmp_path_factory.getbasetemp() / "damaged"):
        got = is_used_or_refused(READERS[path])
    if path in ("images", "checkpoint") and content != whole[path]:  # which have digests
        assert got is None
