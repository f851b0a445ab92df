"""A stage never uses more threads than it may, and fewer while other stages are at work."""

import multiprocessing
import os
import time

import pytest
import torch

from tests.models import small_vae
from vae import numerics
from vae.numerics import threads
from vae.numerics.products import Rule
from vae.numerics.threads import Share

MANY = 10**9


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Pretends that the machine has so many processors, that torch starts with so many threads,
    and that nothing else limits this process. Outside the test, no stage counts.
    """
    before = torch.get_num_threads()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(threads, "CGROUP", tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def pretend(processors: int, asked: int) -> None:
        monkeypatch.setattr("os.cpu_count", lambda: 1000)  # of which this process may use some
        monkeypatch.setattr("os.sched_getaffinity", lambda _: range(processors), raising=False)
        monkeypatch.setattr("torch.get_num_threads", lambda: asked)

    yield pretend
    torch.set_num_threads(before)
    torch.set_flush_denormal(False)


@pytest.fixture
def another_stage():
    """Starts a process that counts as a stage, and returns it."""
    fork, stages = multiprocessing.get_context("fork"), []

    def work(ready) -> None:
        Share(MANY)
        ready.set()
        time.sleep(60)

    def start():
        ready = fork.Event()
        stages.append(fork.Process(target=work, args=[ready]))
        stages[-1].start()
        assert ready.wait(20)
        return stages[-1]

    yield start
    for stage in stages:
        stage.kill()
        stage.join()


@pytest.mark.parametrize(
    ("word", "quota", "alone", "shared"),
    [
        ("3", {"cpu.max": "max 100000"}, 3, 3),
        ("16", {"cpu.max": "max 100000"}, 16, 4),
        ("16", {"cpu.max": "300000 100000"}, 16, 1),  # the user's word is above a container's
        ("", {"cpu.max": "300000 100000"}, 3, 1),
        ("", {"cpu.max": "50000 100000"}, 1, 1),
        ("", {"cpu.max": "not two numbers"}, 8, 4),
        ("", {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3, 1),
    ],
)
def test_no_stage_uses_more_threads_than_it_may(
    machine, another_stage, monkeypatch, tmp_path, word, quota, alone, shared
):
    machine(processors=8, asked=int(word or 8))
    monkeypatch.setenv("OMP_NUM_THREADS", word)
    (tmp_path / "cpu").mkdir()
    for file, content in quota.items():
        (tmp_path / file).write_text(f"{content}\n")
    assert threads.affordable(8) > 0  # which several processes of training share
    mine = Share(MANY)
    assert mine.count() == alone
    another_stage()
    assert mine.count() == shared


def test_a_stage_keeps_to_its_share_from_the_start_and_while_it_runs(
    machine, another_stage, monkeypatch
):
    machine(processors=8, asked=8)
    asked, clock = [], [1000.0]
    monkeypatch.setattr("torch.set_num_threads", asked.append)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    mine = Share(6)
    mine.adapt()
    other = another_stage()
    mine.adapt()  # too early to count again
    assert asked == [6]
    clock[0] += 0.3
    mine.adapt()
    mine.adapt()
    assert asked == [6, 4]
    another_stage()
    clock[0] += 0.3
    mine.adapt()
    other.kill()
    other.join()
    clock[0] += 0.3
    mine.adapt()
    mine.limit(1)  # at once
    assert asked == [6, 4, 2, 4, 1]


@pytest.mark.parametrize(("portable", "threads"), [(True, 4), (False, 64)])
def test_portable_numerics_take_at_most_four_threads(machine, monkeypatch, portable, threads):
    machine(processors=64, asked=64)
    asked = [64]
    monkeypatch.setattr("torch.set_num_threads", asked.append)
    monkeypatch.setattr(numerics.machine, "_share", None)
    monkeypatch.setattr(Rule, "portable", None)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", True)
    monkeypatch.setenv("MKL_CBWR", "AUTO")
    numerics.start(torch.device("cpu"), portable)
    assert asked[-1] == threads
    assert (Rule.portable, torch.backends.mkldnn.enabled) == (portable, not portable)
    assert os.environ["MKL_CBWR"] == ("AVX2,STRICT" if portable else "AUTO")
    numerics.start(torch.device("meta"), portable)
    assert not Rule.portable
    share = numerics.machine._share
    share.limit(3)
    share.counted = -1
    small_vae().posterior(torch.zeros(1, 1, 8, 8, dtype=torch.float64))  # adapts before it computes
    assert share.counted > 0
