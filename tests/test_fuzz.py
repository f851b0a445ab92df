"""A stage uses whatever is in a file, or refuses it in one or two lines: parameters, tensors, and
what the report reads. Images: tests/test_fuzz_images.py.
"""

import contextlib
import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.params import Params, load_params
from report.results import load_metrics, load_pictures, load_table
from tests.fuzz import DAMAGE, DEFAULTS, FUZZ, damaged, file_with, is_used_or_refused, values
from tests.models import prepared, small_vae
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
def whole(tmp_path_factory) -> dict[str, bytes]:
    """One file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    model, images = small_vae().float(), prepared(20)
    model.save(folder / "model")
    metadata = {"dataset": "MNIST", "binarization": "threshold", "threshold": "128"}
    save_images(folder / "images", images.pixels, images.labels, metadata)
    Checkpoint(folder / "checkpoint").save(model.state_dict(), [{"epoch": 1}])
    return {path.name: path.read_bytes() for path in folder.iterdir()}


READERS = {
    "model": VAE.load, "images": load_images, "checkpoint": lambda path: Checkpoint(path).read(),
}  # fmt: skip


@given(kind=some.sampled_from(list(READERS)), damage=DAMAGE)
@FUZZ
def test_a_damaged_tensor_file_is_used_or_refused(tmp_path_factory, whole, kind, damage):
    header = 8 + int.from_bytes(whole[kind][:8], "little")
    content = damaged(whole[kind], **damage, header=header)
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    got = is_used_or_refused(READERS[kind], path)
    if kind != "model" and content != whole[kind]:  # which have digests
        assert got is None


REPORT = {
    "metrics/test.json": load_metrics,
    "plots/training.csv": lambda: load_table("training"),
    "plots/units.csv": lambda: load_table("units"),
    "plots/samples.png": load_pictures,
}


@given(file=some.sampled_from(list(REPORT)), damage=DAMAGE, value=some.none() | values)
@FUZZ
def test_a_damaged_input_of_the_report_is_used_or_refused(
    tmp_path_factory, reproduced, file, damage, value
):
    copy = tmp_path_factory.getbasetemp() / "results"
    if not copy.exists():
        for name in "metrics", "plots":
            shutil.copytree(reproduced.folder / name, copy / name)
    if value is not None:
        damage = damage | {"other": json.dumps(value).encode()}
    content = damaged(reproduced.read(file), **damage, header=60)
    (copy / file).write_bytes(content)
    with contextlib.chdir(copy):
        is_used_or_refused(REPORT[file])
