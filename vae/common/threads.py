"""How many threads to compute with: the machine's processors, shared among the stages at work.

Two processes of two threads each on two processors are not half as fast but many times slower,
because threads wait for one that has no processor. Nothing of a portable result depends on the
number of threads (tests/test_bits.py), so it changes while a stage runs.
"""

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import torch

try:
    import fcntl
except ImportError:  # Windows: stages do not see each other there, and each takes what it is given
    fcntl = None  # type: ignore[assignment]

RECOUNT_SECONDS = 0.2
SLOTS = 128  # stages that are counted; to look at all of them takes a fraction of a millisecond
CGROUP = Path("/sys/fs/cgroup")  # a container finds its own limits here


def affordable(processors: int) -> int:
    """How many of the processors a container may keep busy: all unless it has a limit."""
    for files in ["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]:  # cgroup v2, v1
        with suppress(OSError, ValueError):  # without a limit v2 says "max", v1 says -1
            quota, period = " ".join((CGROUP / file).read_text() for file in files).split()
            if int(quota) > 0:
                return max(1, min(processors, int(quota) // int(period)))
    return processors


class Share:
    """A stage at work holds a lock on one byte of a file; the system frees it however it ends.

    All stages of a user are assumed to use the same processors: two that may not (taskset) then
    use fewer threads than they could.
    """

    def __init__(self, portable: bool):
        self.portable = portable
        self.most = 4  # threads of a portable computation
        self.threads = self.alone = torch.get_num_threads()  # heeds OMP_NUM_THREADS and affinity
        if not os.environ.get("OMP_NUM_THREADS"):  # the user's word is above a container's limit
            self.alone = affordable(self.threads)
        affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
        self.processors = affordable(len(affinity(0)) if affinity else os.cpu_count() or 1)
        self.counted = -RECOUNT_SECONDS
        self.mine = None
        if fcntl:
            with suppress(OSError):
                path = Path(tempfile.gettempdir()) / f"mnist-vae-{os.getuid()}.stages"
                self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
                free = (byte for byte in range(SLOTS) if self._lock(byte, fcntl.LOCK_EX))
                self.mine = next(free, None)

    def _lock(self, byte: int, kind: int) -> bool:
        try:
            fcntl.lockf(self.file, kind | fcntl.LOCK_NB, 1, byte)
        except OSError:
            return False
        return True

    def _is_taken(self, byte: int) -> bool:
        if free := self._lock(byte, fcntl.LOCK_SH):
            fcntl.lockf(self.file, fcntl.LOCK_UN, 1, byte)
        return not free

    def count(self) -> int:
        """Threads for this stage, at least one."""
        if self.mine is None:  # nowhere to meet the others
            return self.alone
        others = sum(self._is_taken(byte) for byte in range(SLOTS) if byte != self.mine)
        return max(1, min(self.alone, self.processors // (1 + others))) if others else self.alone

    def adapt(self, rows: int) -> None:
        """Sets torch's threads for work on `rows` rows."""
        now = time.monotonic()
        if now - self.counted > RECOUNT_SECONDS:
            self.counted, self.share = now, self.count()
        threads = self.share
        if self.portable:
            # On AMD's processors the number of threads shows in products of fewer than 32 rows,
            # and from 6 threads on in narrow ones. Matrices this small gain little from either.
            threads = min(threads, self.most) if rows >= 32 else 1
        if threads != self.threads:
            torch.set_num_threads(threads)
            self.threads = threads


_share: Share | None = None


def share_processors(portable: bool) -> None:
    """Counts this process among the stages at work, for `adapt_threads`."""
    global _share
    _share = Share(portable)
    _share.adapt(32)  # what does not ask keeps to its share too


def use_one_thread() -> None:
    """Keeps a portable computation to one thread, because its bits depend on their number."""
    if _share is not None:
        _share.most = 1
        _share.adapt(32)


def adapt_threads(rows: int) -> None:
    """Call this before work on `rows` rows, as often as you like: it takes a microsecond.

    Does nothing before `share_processors`.
    """
    if _share is not None:
        _share.adapt(rows)
