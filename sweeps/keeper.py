"""Runs a command that does not outlive whoever asked for it.

The asker holds the writing end of a pipe, and nobody else does. However the asker ends, by kill -9
too, the system closes it. The keeper then kills its process group: itself, the command, and all
that the command started.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress


def run_kept(command: tuple[str, ...], *, lock: int, **options) -> int:
    """Runs `command` under a keeper, and returns its exit code when nothing of it runs any more.

    The keeper inherits the file `lock`: what is locked stays so until the keeper has ended.
    """
    keeper = subprocess.Popen(
        [sys.executable, "-I", __file__, *command],
        stdin=subprocess.PIPE,
        start_new_session=True,
        pass_fds=(lock,),
        **options,
    )
    try:
        return keeper.wait()
    finally:
        with suppress(OSError):
            os.killpg(keeper.pid, signal.SIGKILL)  # what outlived the keeper
        keeper.stdin.close()


def _end_with_the_asker() -> None:
    os.read(0, 1)  # nothing is ever written: this is the end of the file
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_the_asker, daemon=True).start()
    sys.exit(process.wait() and 1)
