"""`prepare` splits the images and makes their pixels binary."""

import pytest
import torch

from stages.prepare import pixels, split
from vae.common.errors import UserError
from vae.common.params import Prepare
from vae.data.images import binarize


def test_split_is_a_partition_that_the_seed_decides():
    train, validation = split(100, 30, seed=0)
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(100))
    assert len(validation) == 30
    assert torch.equal(split(100, 30, seed=0)[1], validation)
    assert not torch.equal(split(100, 30, seed=1)[1], validation)
    with pytest.raises(UserError, match=r"prepare\.validation_size = 100: .* allowed are 1 to 99"):
        split(100, 100, seed=0)


def prepare_params(**changes) -> Prepare:
    defaults = {"dataset": "mnist", "binarization": "threshold", "threshold": 128, "seed": 0}
    return Prepare(**(defaults | {"validation_size": 5, "mirror": None} | changes))


def test_threshold_is_strict():
    images = torch.tensor([[[127, 128, 129, 255]]], dtype=torch.uint8)
    assert pixels(images, "test", prepare_params()).tolist() == [[[0, 0, 1, 1]]]
    assert pixels(images, "test", prepare_params(threshold=0)).tolist() == [[[1, 1, 1, 1]]]


def test_stochastic_pixels_have_the_intensity_as_their_mean_and_certainty_at_the_ends():
    intensities = torch.arange(256, dtype=torch.uint8).repeat(40_000, 1)
    drawn = binarize(intensities, torch.Generator().manual_seed(0)).double().mean(0)
    expected = torch.arange(256) / 255
    assert ((drawn - expected).abs() <= 5 * (expected * (1 - expected) / 40_000).sqrt()).all()
    params = prepare_params(binarization="stochastic")
    assert torch.equal(pixels(intensities, "train", params), intensities)  # drawn anew each epoch
    test = pixels(intensities, "test", params)
    assert torch.equal(test, pixels(intensities, "test", params))
    assert test.max() == 1
