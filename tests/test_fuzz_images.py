"""Pictures of whatever kind are prepared, or refused in a line or two."""

import contextlib
import io
import shutil

import numpy as np
from hypothesis import given
from hypothesis import strategies as some
from PIL import Image

import stages.prepare
from tests.fuzz import DAMAGE, FUZZ, INPUTS, damaged, is_used_or_refused
from tests.project import file_with
from vae.images import load_images

KINDS = [  # a format with a mode of pixels
    *(("png", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *(("jpeg", mode) for mode in ("L", "RGB", "CMYK")),
]
FOREIGN = [("gif", "P"), ("bmp", "RGB"), ("tiff", "F"), ("webp", "RGBA")]
PICTURES = some.fixed_dictionaries({
    "kind": some.sampled_from(KINDS), "place": some.sampled_from(["a", "b b", "ü", "a/deeper"]),
    "size": some.tuples(some.integers(1, 40), some.integers(1, 40)) | some.just((3000, 1)),
    "ending": some.sampled_from([*5 * [".png", ".jpg"], ".JPEG", ".gif", ".png.bak", ""]),
})  # fmt: skip


def picture(kind: tuple[str, str], size: tuple[int, int]) -> bytes:
    name, mode = kind
    grey = Image.linear_gradient("L").point(lambda value: 128 + value // 2).resize(size)
    file = io.BytesIO()
    if mode == "I;16":
        Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(file, name)
    else:
        grey.convert(mode, dither=Image.Dither.NONE).save(file, name)
    return file.getvalue()


@given(
    files=some.lists(PICTURES, min_size=2, max_size=9), in_classes=some.booleans(),
    foreign=some.sampled_from([*4 * [None], *FOREIGN]), damage=some.none() | DAMAGE,
    prepare=some.fixed_dictionaries({
        "image_size": some.integers(1, 9), "channels": some.sampled_from([1, 3]),
        "validation_size": some.integers(1, 2), "limit": some.none() | some.integers(1, 3),
        "binarization": some.sampled_from(["threshold", "stochastic", "none"]),
    }),
)  # fmt: skip
@FUZZ
def test_a_folder_of_pictures_is_prepared_or_refused(
    tmp_path_factory, monkeypatch, files, in_classes, foreign, damage, prepare
):
    """The first file may be of a `foreign` format, and the second may have `damage`."""
    work = tmp_path_factory.getbasetemp() / "pictures"
    shutil.rmtree(work, ignore_errors=True)
    (work / "mine").mkdir(parents=True)
    monkeypatch.chdir(work)
    read, whole = 0, True  # how many files are read as pictures; whether they all are some
    for index, its in enumerate(files):
        content = sound = picture(its["kind"], its["size"])
        if index == 0 and foreign:
            content = picture(foreign, its["size"])
        if index == 1 and damage:
            content = damaged(content, **damage, header=60)
        path = work / "mine" / (its["place"] if in_classes else "") / f"{index}{its['ending']}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if its["ending"].lower() in (".png", ".jpg", ".jpeg"):
            read += 1
            whole &= content == sound
    changes = {"dataset": "folder", "folder": "mine"} | prepare
    likelihood = "logistic" if prepare["binarization"] == "none" else "bernoulli"
    changes = {f"prepare.{name}": value for name, value in changes.items()}
    (work / "params.yaml").write_text(file_with(changes | {"model.likelihood": likelihood}))
    with contextlib.redirect_stdout(io.StringIO()):
        is_done = is_used_or_refused(lambda: stages.prepare.main(INPUTS) or True)
    held = prepare["validation_size"]
    assert is_done or not whole or read <= 2 * held
    if is_done:
        found = {
            name: load_images(work / "data" / f"{name}.safetensors")
            for name in ("train", "validation", "test")
        }
        for its in found.values():
            assert its.shape == (prepare["channels"], *2 * [prepare["image_size"]])
            assert its.levels == (256 if likelihood == "logistic" else 2)
        train = min(read - 2 * held, prepare["limit"] or read)
        assert [len(its.labels) for its in found.values()] == [train, held, held]
