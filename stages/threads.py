"""How many threads to compute with: the machine's processors, shared among the stages at work.

Two processes of two threads each on two processors are not half as fast but many times slower,
because threads wait for one that has no processor. Nothing of a portable result depends on the
number of threads (tests/test_bits.py), so it changes while a stage runs.
"""

import fcntl
import os
import tempfile
import time
from pathlib import Path

import torch

RECOUNT_SECONDS = 0.2
SLOTS = 256  # stages that are counted


class Share:
    """A stage at work holds a lock on one byte of a file; the system frees it however it ends."""

    def __init__(self, portable: bool):
        self.portable = portable
        self.threads = self.available = torch.get_num_threads()  # OMP_NUM_THREADS is heeded
        self.counted = -RECOUNT_SECONDS
        name = f"mnist-vae-{os.getuid()}.stages"
        try:
            path = Path(tempfile.gettempdir()) / name
            self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError:
            self.file = None
            return
        free = (byte for byte in range(SLOTS) if self._lock(byte, fcntl.LOCK_EX))
        self.mine = next(free, None)
        if self.mine is None:
            self.file = None

    def _lock(self, byte: int, kind: int) -> bool:
        try:
            fcntl.lockf(self.file, kind | fcntl.LOCK_NB, 1, byte)
        except OSError:
            return False
        return True

    def _is_taken(self, byte: int) -> bool:
        if byte == self.mine:
            return True
        free = self._lock(byte, fcntl.LOCK_SH)
        if free:
            fcntl.lockf(self.file, fcntl.LOCK_UN, 1, byte)
        return not free

    def count(self) -> int:
        """Threads for this stage, at least one."""
        if self.file is None:  # nowhere to meet the others: use what there is
            return self.available
        processors = os.cpu_count()
        at_work = sum(map(self._is_taken, range(processors)))
        return self.available if at_work < 2 else max(1, processors // at_work)

    def adapt(self, rows: int) -> None:
        """Sets torch's threads for products of `rows` rows."""
        now = time.monotonic()
        if now - self.counted > RECOUNT_SECONDS:
            self.counted, self.share = now, self.count()
        threads = self.share
        if self.portable:
            # On AMD's processors the number of threads shows in products of fewer than 32 rows,
            # and from 6 threads on in narrow ones. Matrices this small gain little from either.
            threads = 1 if rows < 32 else min(threads, 4)
        if threads != self.threads:
            torch.set_num_threads(threads)
            self.threads = threads


_share: Share | None = None


def share_processors(portable: bool) -> None:
    """From now on `adapt_threads` counts this process among the stages at work."""
    global _share
    _share = Share(portable)


def adapt_threads(rows: int) -> None:
    """To be called before products of `rows` rows, as often as one likes: it takes a microsecond.

    Does nothing before `share_processors`.
    """
    if _share is not None:
        _share.adapt(rows)
