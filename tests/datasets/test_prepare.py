"""`prepare` splits the images and makes their pixels binary, or leaves them as they are."""

import pytest
import torch

from pipeline.params import Prepare
from stages.prepare import pixels, split
from tests.project import DEFAULTS
from vae.errors import UserError
from vae.images import binarize, load_images, save_images


def test_split_is_a_partition_that_the_seed_decides():
    train, validation = split(100, 30, None, seed=0)
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(100))
    assert len(validation) == 30
    assert torch.equal(split(100, 30, None, seed=0)[1], validation)
    assert not torch.equal(split(100, 30, None, seed=1)[1], validation)
    limited, same = split(100, 30, 20, seed=0)
    assert len(limited) == 20
    assert set(limited.tolist()) < set(train.tolist())
    assert torch.equal(same, validation)
    assert torch.equal(split(100, 30, 1000, seed=0)[0], train)
    with pytest.raises(UserError, match=r"prepare\.validation_size = 100: .* allowed are 1 to 99"):
        split(100, 100, None, seed=0)


def test_threshold_is_strict():
    images = torch.tensor([[[127, 128, 129, 255]]], dtype=torch.uint8)
    for threshold, expected in (128, [0, 0, 1, 1]), (0, [1, 1, 1, 1]):
        params = Prepare(**DEFAULTS["prepare"] | {"threshold": threshold})
        assert pixels(images, "test", params).tolist() == [[expected]]


def test_stochastic_pixels_have_the_intensity_as_their_mean_and_certainty_at_the_ends():
    intensities = torch.arange(256, dtype=torch.uint8).repeat(40_000, 1)
    drawn = binarize(intensities, torch.Generator().manual_seed(0)).double().mean(0)
    expected = torch.arange(256) / 255
    assert ((drawn - expected).abs() <= 5 * (expected * (1 - expected) / 40_000).sqrt()).all()
    params = Prepare(**DEFAULTS["prepare"] | {"binarization": "stochastic"})
    assert torch.equal(pixels(intensities, "train", params), intensities)  # drawn anew each epoch
    test = pixels(intensities, "test", params)
    assert torch.equal(test, pixels(intensities, "test", params))
    assert test.max() == 1
    params = Prepare(**DEFAULTS["prepare"] | {"binarization": "none"})
    assert torch.equal(pixels(intensities, "test", params), intensities)


@pytest.mark.parametrize(
    ("binarization", "brightest", "levels", "intensities"),
    [
        ("threshold", 1, 2, False), ("stochastic", 1, 2, False), ("stochastic", 2, 2, True),
        ("none", 1, 256, False), ("none", 2, 256, False),
    ],
)  # fmt: skip
def test_a_file_tells_what_its_pixels_are(tmp_path, binarization, brightest, levels, intensities):
    pixels, labels = torch.eye(6).byte().view(3, 3, 2, 2) * brightest, torch.tensor([5, 0, 7])
    save_images(tmp_path / "it", pixels, labels, {"dataset": "A", "binarization": binarization})
    images = load_images(tmp_path / "it")
    assert images.pixels.equal(pixels)
    assert images.labels.equal(labels)
    assert images.kind == f"A of 3×2×2, binarized: {binarization}"
    assert (images.levels, images.intensities) == (levels, intensities)
