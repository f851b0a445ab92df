"""A user adds a data set; broken ones are refused."""

import math
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from datasets import DATASETS
from datasets.load import load_dataset
from vae.errors import UserError
from vae.images import load_images

DIGITS = """
import numpy as np
from sklearn.datasets import load_digits


class Digits:
    title = "Digits"

    def load(self, prepare):
        digits = load_digits()  # 17 levels
        images = (digits.images / 16 * 255).astype(np.uint8)
        return (images[:200], digits.target[:200]), (images[-60:], digits.target[-60:])
"""


@pytest.mark.skipif(not find_spec("sklearn"), reason="scikit-learn is in the extra test")
def test_a_class_and_a_line_add_a_data_set_to_all_stages(stages):
    project = stages.project
    (project.folder / "datasets/digits.py").write_text(DIGITS)
    line = '    "digits": "datasets.digits:Digits",\n}'
    project.set("\n}", f"\n{line}", "datasets/__init__.py")
    project.choose("prepare.dataset=digits prepare.limit=100 train.epochs=1 model.channels=4")
    for binarization, levels, likelihood, network in [
        ("threshold", 2, "bernoulli", "mlp"),
        ("none", 17, "logistic", "conv"),
    ]:
        project.choose(f"prepare.binarization={binarization}")
        project.choose(f"model.likelihood={likelihood} model.network={network}")
        metrics = stages.measure()
        for split, size in ("train", 100), ("validation", 40), ("test", 60):
            images = load_images(project.folder / f"data/{split}.safetensors")
            assert images.pixels.shape == (size, 1, 8, 8)
            assert len(images.pixels.unique()) == levels
            assert images.dataset == metrics["dataset"] == "Digits"
        assert metrics["elbo"] < metrics["log_likelihood"] < 0
        nats = metrics["bits_per_dimension"] * 64 * math.log(2)
        assert nats == pytest.approx(-metrics["log_likelihood"], abs=0.01)


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


def test_tensors_are_accepted_too(loaded):
    images, labels = torch.full((4, 28, 28), 9, dtype=torch.uint8), torch.tensor([3, 1, 4, 1])
    title, _, test = loaded(images, labels)
    assert title == "Shapes"
    assert torch.equal(test[0], images.unsqueeze(1))
    assert torch.equal(test[1], labels.byte())


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [
        (IMAGES / 255, np.zeros(4, int), "images are float64 [4, 1, 28, 28]: should be uint8 ["),
        (IMAGES[:0], np.zeros(0, int), "images are uint8 [0, 1, 28, 28]: should be uint8 ["),
        (
            np.full((4, 2, 9, 9), 9, np.uint8),
            np.zeros(4, int),
            "images have 2 channels: should be 1",
        ),
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
