"""The prepared files are checked when they are read."""

import re

import pytest
import torch

from vae.common.errors import UserError
from vae.common.files import load_tensors, save_tensors
from vae.data.images import load_images, save_images

METADATA = {"dataset": "Shapes", "binarization": "threshold", "threshold": "9"}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "train.safetensors"
    images = torch.arange(3 * 784).view(3, 28, 28) % 2
    save_images(path, images.to(torch.uint8), torch.tensor([5, 0, 7], dtype=torch.uint8), METADATA)
    return path


def test_saved_images_are_loaded(path):
    images = load_images(path)
    assert torch.equal(images.pixels, (torch.arange(3 * 784).view(3, 784) % 2).to(torch.uint8))
    assert images.labels.tolist() == [5, 0, 7]
    assert (images.dataset, images.binarization) == ("Shapes", "threshold 9")
    assert not images.intensities
    bright = torch.full((1, 28, 28), 2, dtype=torch.uint8)
    save_images(path, bright, images.labels[:1], {"dataset": "A", "binarization": "stochastic"})
    assert load_images(path).intensities
    assert load_images(path).binarization == "stochastic"


@pytest.mark.parametrize("part", ["pixels", "labels", "metadata"])
def test_a_flipped_bit_is_named_with_a_remedy(path, part):
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    where = {
        "pixels": start + 1000,
        "labels": len(content) - 1,
        "metadata": content.index(b'"threshold":"9"') + 13,
    }
    content[where[part]] ^= 1
    path.write_bytes(content)
    remedy = "dvc repro (if it is damaged again, delete its copy in .dvc/cache)"
    with pytest.raises(UserError) as error:
        load_images(path)
    first, second = str(error.value).splitlines()
    assert first.startswith(f"{path} has changed since it was written")
    assert second == f"Delete it and run: {remedy}"


def test_a_damaged_file_is_named(path):
    path.write_bytes(b"\x00" * 50)
    with pytest.raises(UserError, match=r"train\.safetensors is damaged.*\n.*dvc repro"):
        load_images(path)


@pytest.mark.parametrize("missing", ["images", "sha256"])
def test_a_file_of_another_kind_is_named(path, missing):
    tensors, metadata = load_tensors(path)
    tensors.pop(missing, None)
    metadata.pop(missing, None)
    save_tensors(path, tensors, metadata)
    with pytest.raises(UserError, match=re.escape(f"{path} does not hold images and labels")):
        load_images(path)
