"""Loads a data set and compares it with the small files."""

from types import SimpleNamespace

from datasets.load import load_dataset

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
