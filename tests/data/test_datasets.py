"""A user adds a data set; broken ones are refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from stages import prepare
from vae.common.errors import UserError
from vae.common.params import load_params
from vae.data import DATASETS
from vae.data.datasets import load_dataset
from vae.data.images import load_images

PARAMS = Path(__file__).parents[2] / "params.yaml"


class Shapes:
    """The example of docs/extending.md."""

    title = "Shapes"

    def load(self, mirror):
        with np.load("shapes.npz") as file:
            images, labels = file["images"], file["labels"]
        return (images[:-10], labels[:-10]), (images[-10:], labels[-10:])


@pytest.fixture(autouse=True)
def table(monkeypatch):
    monkeypatch.setitem(DATASETS, "shapes", f"{__name__}:Shapes")


def test_a_class_and_a_line_add_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (50, 28, 28), dtype=np.uint8)
    np.savez("shapes.npz", images=images, labels=np.arange(50) % 3)
    params = PARAMS.read_text().replace("dataset: mnist", "dataset: shapes")
    Path("params.yaml").write_text(params.replace("validation_size: 5000", "validation_size: 8"))
    assert load_params().prepare.dataset == "shapes"

    prepare.main(None)
    sizes = {"train": 32, "validation": 8, "test": 10}
    for name, size in sizes.items():
        prepared = load_images(f"data/{name}.safetensors")
        assert prepared.dataset == "Shapes"
        assert prepared.pixels.shape == (size, 784)
    assert torch.equal(prepared.pixels, torch.tensor(images[-10:] > 128).flatten(1).byte())
    assert prepared.labels.tolist() == [label % 3 for label in range(40, 50)]


def returning(monkeypatch, images, labels):
    good = np.full((4, 28, 28), 200, np.uint8), np.zeros(4, np.uint8)
    monkeypatch.setattr(Shapes, "load", lambda *_: (good, (images, labels)))


def test_tensors_are_accepted_too(monkeypatch):
    images, labels = torch.full((4, 28, 28), 9, dtype=torch.uint8), torch.tensor([3, 1, 4, 1])
    returning(monkeypatch, images, labels)
    title, _, test = load_dataset("shapes")
    assert title == "Shapes"
    assert torch.equal(test[0], images)
    assert torch.equal(test[1], labels.byte())


IMAGES = np.full((4, 28, 28), 200, np.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [
        (IMAGES / 255, np.zeros(4, int), "images are float64 [4, 28, 28]: should be uint8 ["),
        (IMAGES.reshape(4, -1), np.zeros(4, int), "images are uint8 [4, 784]: should be uint8 ["),
        (IMAGES[:0], np.zeros(0, int), "images are uint8 [0, 28, 28]: should be uint8 ["),
        (IMAGES > 9, np.zeros(4, int), "images are bool [4, 28, 28]: should be uint8 ["),
        (IMAGES // 200, np.zeros(4, int), "images have no pixel above 1: should be intensities"),
        (IMAGES, np.zeros(3, int), "labels are int64 [3]: should be int [4]"),
        (IMAGES, np.zeros((4, 1), int), "labels are int64 [4, 1]: should be int [4]"),
        (IMAGES, np.zeros(4), "labels are float64 [4]: should be int [4]"),
        (IMAGES, np.array(list("abcd")), "labels are <U1 [4]: should be int [4]"),
        (IMAGES, np.array([0, 1, 2, -1]), "labels are -1 to 2: should be 0 to 255"),
        (IMAGES, np.array([0, 1, 2, 256]), "labels are 0 to 256: should be 0 to 255"),
    ],
)
def test_other_arrays_are_refused(monkeypatch, images, labels, reason):
    returning(monkeypatch, images, labels)
    with pytest.raises(UserError) as error:
        load_dataset("shapes")
    assert str(error.value).startswith(f"Shapes's test {reason}")
    assert "\n" not in str(error.value)


def test_the_names_of_data_sets_are_known_without_torch():
    program = "import sys, vae.data; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
