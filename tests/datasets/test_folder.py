"""A folder of pictures is a data set."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from datasets.load import load_dataset
from vae.errors import Refusal, UserError
from vae.images import load_images

COLOURS = {"day": (250, 200, 30), "night": (20, 30, 160)}
COUNT = 30


@pytest.fixture
def folder(tmp_path):
    """Pictures of two classes, each of a colour of its own, of different sizes and formats."""
    folder = tmp_path / "pictures"
    for index in range(COUNT):
        name, colour = list(COLOURS.items())[index % 2]
        size = 5 + index, 40 - index
        (folder / name).mkdir(parents=True, exist_ok=True)
        kind = (".png", ".jpg", ".JPEG")[index % 3]
        Image.new("RGB", size, colour).save(folder / name / f"{index}{kind}")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def load(folder, **changes):
    prepare = {"folder": folder, "image_size": 6, "channels": 3, "validation_size": 5, "seed": 0}
    return load_dataset("folder", SimpleNamespace(**prepare | changes))


def test_colours_and_classes_are_those_of_the_pictures(folder):
    title, (train, train_labels), (test, test_labels) = load(folder)
    assert title == "pictures"
    assert train.shape == (COUNT - 5, 3, 6, 6)
    assert test.shape == (5, 3, 6, 6)
    labels = [*train_labels.tolist(), *test_labels.tolist()]
    assert labels.count(0) == labels.count(1) == COUNT / 2
    for image, label in zip([*train.numpy(), *test.numpy()], labels, strict=True):
        expected = np.array(list(COLOURS.values())[label]).reshape(3, 1, 1)
        assert abs(image.astype(int) - expected).max() <= 3  # JPEG is not exact
    assert {tuple(load(folder, seed=seed)[2][1].tolist()) for seed in (1, 2, 3)} != {
        tuple(test_labels.tolist())
    }
    grey = load(folder, channels=1)[1][0]
    assert grey.shape == (COUNT - 5, 1, 6, 6)
    assert len({image.float().mean().round().item() for image in grey}) == 2


def test_the_middle_square_is_shown(tmp_path):
    pixels = np.zeros((10, 30), np.uint8)
    pixels[:, 10:20] = 255
    for index in range(3):
        Image.fromarray(pixels if index else pixels.T).save(tmp_path / f"{index}.png")
    _, (train, labels), _ = load(tmp_path, channels=1, validation_size=1, image_size=5)
    assert (train == 255).all()
    assert labels.tolist() == [0, 0]  # a flat folder is one class


def test_pictures_of_16_bits_a_pixel_keep_their_contrast(tmp_path):
    for index in range(3):
        pixels = np.full((5, 5), index * 10_000, np.uint16)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    _, (train, _), (test, _) = load(tmp_path, validation_size=1)
    levels = {*train.unique().tolist(), *test.unique().tolist()}
    assert levels == {0, 10_000 // 256, 20_000 // 256}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("pictures/notes.txt", "there is no such folder"),
        ("pictures", f"has {COUNT} PNG and JPEG pictures, of which prepare.validation_size = "),
    ],
)
def test_too_little_is_refused_in_one_line(folder, path, reason):
    with pytest.raises(Refusal) as error:
        load(folder.parent / path, validation_size=COUNT // 2)
    assert str(error.value).startswith(f"prepare.folder = {str(folder.parent / path)!r}")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_a_broken_picture_is_named(folder):
    path = folder / "night/1.jpg"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError) as error:
        load(folder)
    first, second = str(error.value).splitlines()
    assert first.startswith(f"{path} cannot be read as a picture (")
    assert second == "Repair or remove it, and run this again"


@pytest.mark.parametrize(("channels", "network"), [(3, "mlp"), (1, "conv")])
def test_all_stages_take_it(stages, folder, channels, network):
    project = stages.project
    project.choose(
        f"prepare.dataset=folder prepare.folder={folder} prepare.binarization=none "
        f"prepare.channels={channels} prepare.image_size=12 prepare.validation_size=5 "
        f"train.epochs=1 model.likelihood=logistic model.network={network} model.channels=4"
    )
    metrics = stages.measure()
    assert load_images(project.folder / "data/train.safetensors").shape == (channels, 12, 12)
    assert (metrics["dataset"], metrics["binarization"]) == ("pictures", "none")
    assert metrics["elbo"] < metrics["log_likelihood"] < 0
    with Image.open(project.folder / "plots/epochs/1.png") as picture:
        assert picture.mode == ("RGB" if channels == 3 else "L")


def test_three_pictures_are_enough(stages, tmp_path):
    (tmp_path / "three").mkdir()
    for index in range(3):
        Image.new("L", (8, 8), 80 * index).save(tmp_path / f"three/{index}.png")
    stages.project.choose(
        f"prepare.dataset=folder prepare.folder={tmp_path}/three prepare.binarization=none "
        f"prepare.validation_size=1 prepare.image_size=8 train.epochs=1 model.likelihood=logistic"
    )
    metrics = stages.measure()
    assert metrics["bits_per_dimension"] > 0
    assert metrics["elbo_stderr"] == metrics["active_units"] == 0
    assert "report.html" in stages.succeed("report")


def test_dvc_notices_a_changed_picture(project):
    Image.new("L", (5, 5)).save(project.folder / "data/pictures/new.png")
    assert "modified:           data/pictures\n" in project.dvc("status", "prepare")
