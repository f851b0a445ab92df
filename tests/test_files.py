"""A file is written in one step, whoever else writes it and however the writer ends."""

import fcntl
import multiprocessing
import os
import time

import pytest

from vae.files import write_atomically


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, SystemExit])
def test_a_writer_that_is_interrupted_leaves_nothing_behind(tmp_path, monkeypatch, error):
    def fsync(number):
        raise error

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(error):
        write_atomically(tmp_path / "file", b"content")
    assert os.listdir(tmp_path) == []


def test_the_next_writer_removes_what_a_killed_one_left_but_not_a_living_ones(tmp_path):
    fork = multiprocessing.get_context("fork")

    def write(written):
        os.replace = lambda *_: (written.set(), time.sleep(60))
        write_atomically(tmp_path / "file", b"theirs")

    os.umask(umask := os.umask(0))
    events = [fork.Event(), fork.Event()]
    writers = [fork.Process(target=write, args=[event], daemon=True) for event in events]
    for writer, written in zip(writers, events, strict=True):
        writer.start()
        assert written.wait(20)
    write_atomically(tmp_path / "file", b"mine")
    assert len(list(tmp_path.glob(".file.*.partial"))) == 2
    writers[0].kill()
    writers[0].join()
    write_atomically(tmp_path / "other", b"")
    assert len(list(tmp_path.glob(".file.*.partial"))) == 2
    (tmp_path / ".file.0.partial").touch()  # of one that was killed before it wrote anything
    write_atomically(tmp_path / "file", b"mine")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~umask  # others may read it
    (partial,) = tmp_path.glob(".*.partial")
    assert partial.read_bytes() == b"theirs"
    writers[1].kill()


def test_a_file_that_another_writer_removes_before_it_is_locked_is_written_anew(
    tmp_path, monkeypatch
):
    def remove_and_lock(file, kind):
        monkeypatch.undo()
        os.unlink(file.name)
        fcntl.flock(file, kind)

    monkeypatch.setattr(fcntl, "flock", remove_and_lock)
    write_atomically(tmp_path / "file", b"mine")
    assert (tmp_path / "file").read_bytes() == b"mine"
    assert os.listdir(tmp_path) == ["file"]
