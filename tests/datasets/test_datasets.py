"""A user's data set may be of arrays or tensors; broken ones are refused."""

import numpy as np
import pytest
import torch

from datasets import DATASETS
from datasets.load import load_dataset
from vae.errors import UserError

IMAGES = np.full((4, 28, 28), 200, np.uint8)


class Shapes:
    """A good training split and the given test split."""

    title = "Shapes"
    test: tuple

    def load(self, _):
        return (IMAGES, np.zeros(4, np.uint8)), self.test


@pytest.fixture
def loaded(monkeypatch):
    monkeypatch.setitem(DATASETS, "shapes", f"{__name__}:Shapes")

    def load(images, labels):
        Shapes.test = images, labels
        return load_dataset("shapes", None)

    return load


def test_tensors_are_accepted(loaded):
    images, labels = torch.full((4, 28, 28), 9, dtype=torch.uint8), torch.tensor([3, 1, 4, 1])
    title, _, test = loaded(images, labels)
    assert title == "Shapes"
    assert torch.equal(test[0], images.unsqueeze(1))
    assert torch.equal(test[1], labels.byte())


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [
        (IMAGES / 255, np.zeros(4, int), "images are float64 [4, 1, 28, 28]: should be uint8 ["),
        (np.full((4, 2, 9, 9), 9, np.uint8), np.zeros(4, int), "images have 2 channels: should"),
        (IMAGES // 200, np.zeros(4, int), "images have no pixel above 1: should be intensities"),
        (IMAGES[:, :8], np.zeros(4, int), "images [1, 8, 28]"),
        (IMAGES, np.zeros((4, 1), int), "labels are int64 [4, 1]: should be int [4]"),
        (IMAGES, np.array([0, 1, 2, 256]), "labels are 0 to 256: should be 0 to 255"),
    ],
)
def test_other_arrays_are_refused_in_one_line(loaded, images, labels, reason):
    with pytest.raises(UserError) as error:
        loaded(images, labels)
    assert str(error.value).startswith("Shapes's t")
    assert f"test {reason}" in str(error.value)
    assert "\n" not in str(error.value)
