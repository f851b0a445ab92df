"""A stage never uses more threads than it may, and fewer while other stages are at work."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from vae.common import threads
from vae.common.threads import Share, affordable


@pytest.fixture(autouse=True)
def nobody_else(tmp_path, monkeypatch):
    """Counts no stage outside the test, limits this process by nothing, and restores torch's
    threads afterwards.
    """
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(threads, "CGROUP", tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def machine(monkeypatch):
    """Pretends that the machine has so many processors and torch starts with so many threads."""

    def pretend(processors: int, asked: int) -> None:
        monkeypatch.setattr("os.cpu_count", lambda: processors)
        monkeypatch.setattr("os.sched_getaffinity", lambda _: range(processors), raising=False)
        monkeypatch.setattr("torch.get_num_threads", lambda: asked)

    return pretend


@pytest.fixture
def another_stage():
    """Starts a process that counts as a stage. Returns a function that ends it."""
    children = set()

    def end(child: int) -> None:
        os.kill(child, 9)
        os.waitpid(child, 0)
        children.remove(child)

    def start():
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                Share(portable=False)
                os.write(write, b"x")
                time.sleep(60)
            os._exit(0)
        children.add(child)
        os.close(write)
        assert os.read(read, 1) == b"x"
        os.close(read)
        return lambda: end(child)

    yield start
    for child in list(children):
        end(child)


def test_processors_are_shared_among_stages_at_work(machine, another_stage):
    machine(processors=8, asked=8)
    mine = Share(portable=False)
    assert mine.count() == 8
    endings = [another_stage() for _ in range(3)]
    assert mine.count() == 2
    endings[0]()
    assert mine.count() == 2  # 8 // 3
    endings[1]()
    endings[2]()
    assert mine.count() == 8


def test_stages_that_outlive_earlier_ones_still_see_each_other(machine, another_stage):
    machine(processors=2, asked=2)
    endings = [another_stage() for _ in range(3)]
    mine = Share(portable=False)
    endings[0]()
    endings[1]()
    assert mine.count() == 1
    endings[2]()
    assert mine.count() == 2


def test_more_stages_than_processors_get_a_thread_each(machine, another_stage):
    machine(processors=2, asked=2)
    for _ in range(3):
        another_stage()
    assert Share(portable=False).count() == 1


@pytest.mark.parametrize(("asked", "shared"), [(1, 1), (3, 3), (16, 4)])
def test_no_stage_uses_more_threads_than_it_was_asked_to(
    machine, another_stage, monkeypatch, asked, shared
):
    machine(processors=8, asked=asked)
    monkeypatch.setenv("OMP_NUM_THREADS", str(asked))
    mine = Share(portable=False)
    assert mine.count() == asked
    another_stage()
    assert mine.count() == shared


def run(program: str, folder: Path, **env: str) -> list[str]:
    """The words that a program prints. It meets other stages in `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env=os.environ | {"TMPDIR": str(folder)} | env,
    )  # fmt: skip
    return done.stdout.split()


def test_omp_num_threads_holds_beside_another_stage(another_stage, tmp_path):
    another_stage()
    program = (
        "from vae.common.threads import Share; share = Share(False); share.processors = 8; "
        "print(share.alone, share.count()); share.alone = 16; print(share.count())"
    )
    assert run(program, tmp_path, OMP_NUM_THREADS="1") == ["1", "1", "4"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_a_process_that_may_use_one_processor_counts_one(tmp_path):
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from vae.common.threads import Share; share = Share(False); "
        "print(share.count(), share.processors)"
    )
    assert run(program, tmp_path) == ["1", "1"]


def limit(folder, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"{content}\n")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 64),
        ({"cpu.max": "max 100000"}, 64),
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "250000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "9900000 100000"}, 64),
        ({"cpu.max": "not two numbers"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
    ],
)
def test_a_container_with_a_quota_gets_as_many_threads_as_it_pays_for(tmp_path, files, expected):
    limit(tmp_path, files)
    assert affordable(64) == expected


def test_a_containers_limit_holds_alone_and_beside_other_stages(machine, another_stage, tmp_path):
    machine(processors=64, asked=32)
    limit(tmp_path, {"cpu.max": "400000 100000"})
    mine = Share(portable=False)
    assert mine.count() == 4
    another_stage()
    assert mine.count() == 2


def test_the_users_word_is_above_a_containers_limit(machine, another_stage, monkeypatch, tmp_path):
    machine(processors=64, asked=32)
    limit(tmp_path, {"cpu.max": "400000 100000"})
    monkeypatch.setenv("OMP_NUM_THREADS", "32")
    mine = Share(portable=False)
    assert mine.count() == 32
    another_stage()
    assert mine.count() == 2


def test_a_stage_keeps_to_its_share_from_the_start(machine, monkeypatch, tmp_path):
    machine(processors=64, asked=64)
    limit(tmp_path, {"cpu.max": "200000 100000"})
    monkeypatch.setattr(threads, "_share", None)
    asked = []
    monkeypatch.setattr("torch.set_num_threads", asked.append)
    threads.share_processors(portable=False)
    assert asked == [2]


def test_threads_follow_the_rows_where_bits_would_show_them():
    share = Share(portable=True)
    share.counted, share.share = time.monotonic() + 1000, 16
    asked = []
    for rows in 32, 31, 500:
        share.adapt(rows)
        asked.append(share.threads)
    assert asked == [4, 1, 4]


@pytest.mark.parametrize("missing", ["locks", "folder"])
def test_where_stages_cannot_meet_each_uses_what_it_is_given(
    machine, another_stage, monkeypatch, missing
):
    machine(processors=8, asked=6)
    another_stage()
    if missing == "locks":
        monkeypatch.setattr(threads, "fcntl", None)
    else:
        monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    assert Share(portable=False).count() == 6
