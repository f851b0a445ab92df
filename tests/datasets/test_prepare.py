"""`prepare` splits the images and makes their pixels binary, or leaves them as they are."""

import pytest
import torch
import yaml

from pipeline.params import Prepare
from stages.prepare import pixels, split
from tests.project import committed
from vae.errors import UserError
from vae.images import binarize

DEFAULTS = yaml.safe_load(committed("params.yaml"))["prepare"]


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
        params = Prepare(**DEFAULTS | {"threshold": threshold})
        assert pixels(images, "test", params).tolist() == [[expected]]


def test_stochastic_pixels_have_the_intensity_as_their_mean_and_certainty_at_the_ends():
    intensities = torch.arange(256, dtype=torch.uint8).repeat(40_000, 1)
    drawn = binarize(intensities, torch.Generator().manual_seed(0)).double().mean(0)
    expected = torch.arange(256) / 255
    assert ((drawn - expected).abs() <= 5 * (expected * (1 - expected) / 40_000).sqrt()).all()
    params = Prepare(**DEFAULTS | {"binarization": "stochastic"})
    assert torch.equal(pixels(intensities, "train", params), intensities)  # drawn anew each epoch
    test = pixels(intensities, "test", params)
    assert torch.equal(test, pixels(intensities, "test", params))
    assert test.max() == 1
    params = Prepare(**DEFAULTS | {"binarization": "none"})
    assert torch.equal(pixels(intensities, "test", params), intensities)
