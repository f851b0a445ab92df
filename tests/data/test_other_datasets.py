"""FashionMNIST and KMNIST: only the MD5 of each compressed file is published."""

import gzip
import hashlib

import pytest
import torchvision

from tests.data.loading import IMAGES, assert_whole, load
from vae.common.errors import UserError

pytestmark = pytest.mark.usefixtures("surroundings")


OTHERS = pytest.mark.parametrize(
    ("name", "title"), [("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")]
)


@pytest.fixture
def published(monkeypatch, server) -> None:
    """The small files, compressed as these data sets are published."""
    digests = [(name, hashlib.md5(content).hexdigest()) for name, content in server.files.items()]
    for published in torchvision.datasets.FashionMNIST, torchvision.datasets.KMNIST:
        monkeypatch.setattr(published, "resources", digests)
        monkeypatch.setattr(published, "mirrors", [])


@OTHERS
def test_other_data_sets_from_torchvisions_mirror_then_the_cache(
    name, title, published, server, small_files, cache, monkeypatch, capfd
):
    known = getattr(torchvision.datasets, title)
    monkeypatch.setattr(known, "mirrors", [server.url + "/"])
    assert_whole(load(name=name), small_files, title)
    output = capfd.readouterr()
    assert output.out == f"{title} from {server.url}/, MD5 verified\n"
    assert output.err.startswith(f"{title} from cache: no {IMAGES}.gz")
    kept = {path.name: path.read_bytes() for path in (cache / title).iterdir()}
    assert kept == server.files
    monkeypatch.setattr(known, "mirrors", [])
    assert_whole(load(name=name), small_files, title)
    assert capfd.readouterr().out == f"{title} from cache, MD5 verified\n"


@OTHERS
def test_other_data_sets_from_the_mirror_of_the_user(name, title, published, server, small_files):
    assert_whole(load(server.url, name), small_files, title)


@OTHERS
def test_a_plain_file_that_cannot_be_verified_is_named(
    name, title, published, server, small_files, cache, capfd
):
    server.files = dict(small_files)
    (cache / title).mkdir(parents=True)
    for file, content in small_files.items():
        (cache / title / file).write_bytes(content)
    with pytest.raises(UserError) as error:
        load(server.url, name)
    assert str(error.value).startswith(f"no source has {title}. Put the four files ({IMAGES}.gz, ")
    assert f"; not unpacked) into {cache / title}\n" in str(error.value)
    reason = f"{IMAGES} cannot be verified, only {IMAGES}.gz can"
    assert capfd.readouterr().err.splitlines() == [  # and no package index
        f"{title} from cache: no {IMAGES}.gz; {reason}",
        f"{title} from {server.url}: {IMAGES}.gz: HTTP 404 Not Found; {reason}",
    ]


@OTHERS
def test_another_file_than_the_published_one_is_not_used(
    name, title, published, server, small_files, capfd
):
    server.files[f"{IMAGES}.gz"] = gzip.compress(small_files[IMAGES], 1)
    with pytest.raises(UserError):
        load(server.url, name)
    assert f"{IMAGES}.gz is not {title}'s: MD5 " in capfd.readouterr().err
