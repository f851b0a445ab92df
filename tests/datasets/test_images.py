"""The prepared files are checked when they are read."""

import pytest
import torch

from vae.images import load_images, save_images

PIXELS = (torch.arange(3 * 3 * 20 * 28) % 2).view(3, 3, 20, 28).to(torch.uint8)
LABELS = torch.tensor([5, 0, 7], dtype=torch.uint8)


@pytest.mark.parametrize(
    ("binarization", "brightest", "levels", "intensities"),
    [
        ("threshold", 1, 2, False), ("stochastic", 1, 2, False), ("stochastic", 2, 2, True),
        ("none", 1, 256, False), ("none", 2, 256, False),
    ],
)  # fmt: skip
def test_what_pixels_are_is_told_by_their_file(
    tmp_path, binarization, brightest, levels, intensities
):
    path = tmp_path / "train.safetensors"
    metadata = {"dataset": "A", "binarization": binarization}
    save_images(path, PIXELS * brightest, LABELS, metadata)
    images = load_images(path)
    assert images.shape == (3, 20, 28)
    assert torch.equal(images.pixels, PIXELS * brightest)
    assert torch.equal(images.labels, LABELS)
    assert images.dataset == "A"
    assert images.binarization.startswith(binarization)
    assert (images.levels, images.intensities) == (levels, intensities)
