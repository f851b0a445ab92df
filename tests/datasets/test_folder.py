"""A folder of pictures is a data set."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.load import load_dataset
from vae.errors import Refusal

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


def test_the_middle_square_is_shown_in_grey_with_its_contrast(tmp_path):
    for index, bits in enumerate([8, 8, 16]):
        pixels = np.zeros((10, 30), np.uint16)
        pixels[:, 10:20] = 200 * 2 ** (bits - 8)
        pixels = pixels.astype(f"uint{bits}")
        Image.fromarray(pixels if index else pixels.T).save(tmp_path / f"{index}.png")
    _, *splits = load(tmp_path, channels=1, validation_size=1, image_size=5)
    for (images, labels), count in zip(splits, [2, 1], strict=True):
        assert images.shape == (count, 1, 5, 5)
        assert (images == 200).all()
        assert labels.tolist() == count * [0]  # a flat folder is one class


def test_hidden_folders_and_files_are_no_part_of_it(folder):
    before = load(folder)
    (folder / ".thumbnails").mkdir()
    shutil.copy(folder / "day" / "0.png", folder / ".thumbnails" / "0.png")
    (folder / "day" / "._0.png").write_text("not a picture")
    for ours, its in zip(before[1:], load(folder)[1:], strict=True):
        assert all(map(torch.equal, ours, its))
    flat = load(folder / "day", validation_size=2)
    (folder / "day" / ".thumbnails").mkdir()
    shutil.copy(folder / "day" / "0.png", folder / "day" / ".thumbnails" / "0.png")
    assert len(load(folder / "day", validation_size=2)[1][0]) == len(flat[1][0]) == 13


def test_pictures_that_would_be_left_out_or_counted_twice_are_refused(folder):
    (folder / "night" / "up").symlink_to("..")
    with pytest.raises(Refusal, match="has a picture twice, by a link"):
        load(folder)
    (folder / "night" / "up").unlink()
    shutil.copy(folder / "day" / "0.png", folder / "alone.PNG")
    with pytest.raises(Refusal, match=r"alone\.PNG is in none of its folders, the classes"):
        load(folder)
    (folder / "alone.PNG").unlink()
    for number in range(255):
        (folder / str(number)).mkdir()
    with pytest.raises(Refusal, match="has 257 folders: 256 classes are allowed"):
        load(folder)
    with pytest.raises(Refusal, match=r"has 15 PNG .*; set it to less than half"):
        load(folder / "day", validation_size=8)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Refusal, match=r"^prepare\.folder = '.*nowhere': there is no such folder"):
        load(str(tmp_path / "nowhere"))


def test_all_stages_take_it(stages, folder):
    folder = folder.rename(folder.with_name("a$_$b"))  # no formula
    stages.project.choose(
        f"prepare.dataset=folder prepare.folder={folder} prepare.binarization=none "
        f"prepare.channels=3 prepare.image_size=12 prepare.validation_size=5 "
        f"train.epochs=1 model.likelihood=logistic model.network=conv model.channels=4"
    )
    metrics = stages.measure()
    assert (metrics["dataset"], metrics["binarization"]) == ("a$_$b", "none")
    assert metrics["elbo"] < metrics["log_likelihood"] < 0
    assert metrics["bits_per_dimension"] > 0
    with Image.open(stages.project.folder / "plots/epochs/1.png") as picture:
        assert picture.mode == "RGB"
