"""A stage uses whatever is in a file, or refuses it in one or two lines.

hypothesis makes the inputs, the same ones each time. Their number is bounded, and so is the time.
"""

import contextlib
import io
import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from PIL import Image

from datasets.folder import Folder
from pipeline.params import Params, load_params
from report.results import load_metrics, load_pictures, load_table
from tests.models import prepared, small_vae
from tests.project import committed
from vae import VAE
from vae.errors import UserError
from vae.images import load_images, save_images
from vae.model import LIKELIHOODS, NETWORKS
from vae.model.architecture import Architecture
from vae.training.checkpoint import Checkpoint

FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "150")), deadline=None, derandomize=True,
    database=None, suppress_health_check=list(HealthCheck),
)  # fmt: skip
DEFAULTS = yaml.safe_load(committed("params.yaml"))
NAMES = [(section, name) for section, its in DEFAULTS.items() for name in its]

scalars = (
    some.none() | some.booleans() | some.integers() | some.floats() | some.text()
    | some.sampled_from([2**63, 10**30, -1, 0, 1e300, "1e-3", "010", "cuda:99", "file://", "[", ""])
)  # fmt: skip
values = some.recursive(
    scalars, lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner), max_leaves=5
)


DAMAGE = some.fixed_dictionaries({
    "how": some.sampled_from(["flipped", "header flipped", "cut", "inserted", "replaced"]),
    "where": some.floats(0, 1), "bits": some.integers(1, 255), "other": some.binary(max_size=300),
})  # fmt: skip


def damaged(content: bytes, how: str, where: float, bits: int, other: bytes, header: int) -> bytes:
    place = int(where * (min(header, len(content)) if how == "header flipped" else len(content)))
    place = min(place, len(content) - 1)
    return {
        "cut": content[:place],
        "inserted": content[:place] + other + content[place:],
        "replaced": other,
    }.get(how, content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :])


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


@given(
    kind=some.sampled_from(["png", "jpeg"]), mode=some.sampled_from(["L", "RGB", "P", "LA"]),
    width=some.integers(1, 40), height=some.integers(1, 40), damage=some.none() | DAMAGE,
    size=some.integers(1, 9), channels=some.sampled_from([1, 3]),
)  # fmt: skip
@FUZZ
def test_a_picture_is_used_or_refused(
    tmp_path_factory, kind, mode, width, height, damage, size, channels
):
    folder = tmp_path_factory.getbasetemp() / "fuzzed pictures"
    folder.mkdir(exist_ok=True)
    picture = io.BytesIO()
    mode = mode if kind == "png" else {"LA": "L", "P": "CMYK"}.get(mode, mode)
    Image.linear_gradient("L").resize((width, height)).convert(mode).save(picture, kind)
    for index in range(3):
        content = picture.getvalue()
        if index == 1 and damage:
            content = damaged(content, **damage, header=60)
        (folder / f"{index}.png").write_bytes(content)
    prepare = SimpleNamespace(
        folder=folder, image_size=size, channels=channels, validation_size=1, seed=0
    )
    splits = is_used_or_refused(Folder().load, prepare)
    assert splits or damage
    if splits:
        assert splits[0][0].shape == (2, channels, size, size)
        assert splits[0][0].dtype == np.uint8


@given(
    shape=some.tuples(some.integers(1, 3), some.integers(1, 13), some.integers(1, 13)),
    network=some.sampled_from(list(NETWORKS)), likelihood=some.sampled_from(list(LIKELIHOODS)),
)  # fmt: skip
@FUZZ
def test_images_of_any_shape_have_a_model_or_are_refused(shape, network, likelihood):
    settings = {"mlp": {"hidden_dims": [4]}, "conv": {"channels": 1}}[network]
    architecture = Architecture(shape, 2, network, settings, likelihood)
    if network == "conv" and (shape[1] % 4 or shape[2] % 4):
        with pytest.raises(ValueError, match="should be multiples of 4"):
            VAE(architecture)
        return
    model = VAE(architecture)
    images = torch.full((3, *shape), model.likelihood.levels - 1, dtype=torch.uint8)
    assert model.reconstruct(images).shape == images.shape
    assert model.sample(2, pixels=True).shape == (2, *shape)
    assert model.log_likelihood(images, draws=2).isfinite().all()


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
