"""The prepared files are checked when they are read."""

import pytest
import torch

from vae.errors import UserError
from vae.images import load_images, save_images

METADATA = {"dataset": "Shapes", "binarization": "threshold", "threshold": "9"}
PIXELS = (torch.arange(3 * 3 * 20 * 28) % 2).view(3, 3, 20, 28).to(torch.uint8)
LABELS = torch.tensor([5, 0, 7], dtype=torch.uint8)


@pytest.fixture
def path(tmp_path):
    save_images(tmp_path / "train.safetensors", PIXELS, LABELS, METADATA)
    return tmp_path / "train.safetensors"


def test_saved_images_are_loaded(path):
    images = load_images(path)
    assert torch.equal(images.pixels, PIXELS)
    assert torch.equal(images.labels, LABELS)
    assert images.shape == (3, 20, 28)
    assert (images.dataset, images.binarization) == ("Shapes", "threshold 9")


@pytest.mark.parametrize(
    ("binarization", "brightest", "levels", "intensities"),
    [
        ("threshold", 1, 2, False), ("stochastic", 1, 2, False), ("stochastic", 2, 2, True),
        ("none", 1, 256, False), ("none", 2, 256, False),
    ],
)  # fmt: skip
def test_what_pixels_are_is_told_by_their_file(path, binarization, brightest, levels, intensities):
    metadata = {"dataset": "A", "binarization": binarization}
    save_images(path, PIXELS * brightest, LABELS, metadata)
    images = load_images(path)
    assert images.binarization.startswith(binarization)
    assert (images.levels, images.intensities) == (levels, intensities)


def test_a_flipped_bit_is_named_with_a_remedy(path):
    content = bytearray(path.read_bytes())
    content[content.index(b'"threshold":"9"') + 13] ^= 1
    path.write_bytes(content)
    remedy = "dvc repro (if it is damaged again, delete its copy in .dvc/cache)"
    with pytest.raises(UserError) as error:
        load_images(path)
    first, second = str(error.value).splitlines()
    assert first.startswith(f"{path} has changed since it was written")
    assert second == f"Delete it and run: {remedy}"
