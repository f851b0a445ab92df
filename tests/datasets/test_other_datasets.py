"""FashionMNIST, KMNIST and CIFAR-10: only the MD5 of each compressed file is published."""

import hashlib
import io
import pickle
import tarfile

import numpy as np
import pytest
import torchvision

from tests.datasets.conftest import assert_whole, load
from vae.errors import UserError

pytestmark = pytest.mark.usefixtures("surroundings")


@pytest.fixture(autouse=True)
def published(monkeypatch, server) -> None:
    """The small files, compressed as these data sets are published."""
    digests = [(name, hashlib.md5(content).hexdigest()) for name, content in server.files.items()]
    for published in torchvision.datasets.FashionMNIST, torchvision.datasets.KMNIST:
        monkeypatch.setattr(published, "resources", digests)
        monkeypatch.setattr(published, "mirrors", [])


def test_they_come_from_torchvisions_mirror_then_the_cache_or_from_the_users_mirror(
    server, small_files, cache, monkeypatch, capfd
):
    monkeypatch.setattr(torchvision.datasets.KMNIST, "mirrors", [server.url + "/"])
    assert_whole(load(name="kmnist"), small_files, "KMNIST")
    assert capfd.readouterr().out == f"KMNIST from {server.url}/, MD5 verified\n"
    kept = {path.name: path.read_bytes() for path in (cache / "KMNIST").iterdir()}
    assert kept == server.files
    monkeypatch.setattr(torchvision.datasets.KMNIST, "mirrors", [])
    assert_whole(load(name="kmnist"), small_files, "KMNIST")
    assert capfd.readouterr().out == "KMNIST from cache, MD5 verified\n"
    assert_whole(load(server.url, "fashion_mnist"), small_files, "FashionMNIST")


def test_cifar10_comes_as_an_archive_of_batches(server, cache, monkeypatch, capfd):
    published = torchvision.datasets.CIFAR10
    random, content, batches = np.random.default_rng(0), io.BytesIO(), []
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, _ in published.train_list + published.test_list:
            pixels = random.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
            batches.append((pixels, random.integers(0, 10, 2).tolist()))
            batch = pickle.dumps({"data": pixels.reshape(2, -1), "labels": batches[-1][1]}, 2)
            member = tarfile.TarInfo(f"{published.base_folder}/{name}")
            member.size = len(batch)
            archive.addfile(member, io.BytesIO(batch))
    server.files = {published.filename: content.getvalue()}
    monkeypatch.setattr(published, "url", f"{server.url}/{published.filename}")
    with pytest.raises(UserError):
        load(name="cifar10")
    assert f"{published.filename} is not CIFAR10's: MD5 " in capfd.readouterr().err

    monkeypatch.setattr(published, "tgz_md5", hashlib.md5(content.getvalue()).hexdigest())
    for source in server.url, "cache":
        title, *splits = load(name="cifar10")
        assert title == "CIFAR10"
        assert f"CIFAR10 from {source}, MD5 verified" in capfd.readouterr().out
        for (images, labels), its in zip(splits, (batches[:5], batches[5:]), strict=True):
            assert images.numpy().tobytes() == b"".join(pixels.tobytes() for pixels, _ in its)
            assert images.shape[1:] == (3, 32, 32)
            assert labels.tolist() == [label for _, labels in its for label in labels]
