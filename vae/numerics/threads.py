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

    def __init__(self, most: int):
        """most: threads, however many processors are free."""
        self.most = most
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
        others = 0
        if self.mine is not None:  # else there is nowhere to meet the others
            others = sum(self._is_taken(byte) for byte in range(SLOTS) if byte != self.mine)
        mine = min(self.alone, self.processors // (1 + others)) if others else self.alone
        return max(1, min(mine, self.most))

    def limit(self, most: int) -> None:
        self.most, self.counted = most, -RECOUNT_SECONDS
        self.adapt()

    def adapt(self) -> None:
        """Sets torch's threads. It takes a microsecond, except five times a second."""
        now = time.monotonic()
        if now - self.counted > RECOUNT_SECONDS:
            self.counted, threads = now, self.count()
            if threads != self.threads:
                torch.set_num_threads(threads)
                self.threads = threads
