"""How a stage ends when something is wrong: one or two lines and a non-zero exit code."""

import io
import os
import re
import signal
import sys
from collections.abc import Callable
from typing import TextIO


class UserError(Exception):
    """Something a person can mend; its message names the thing and says how."""


class Unfailing(io.FileIO):
    """A standard stream that loses what it cannot write.

    A stage's results are files. If the reader of its output leaves (`| head`), or the disk of its
    log is full, it goes on unheard rather than lose a training. Ctrl-C still ends it.
    """

    def write(self, data: bytes) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def unfailing(stream: TextIO | None) -> TextIO:
    """Writes what `stream` would, with an escape for a character that its encoding lacks."""
    if stream is None:  # closed
        return open(os.devnull, "w", encoding="utf-8")
    buffer = getattr(stream, "buffer", None)
    if not isinstance(getattr(buffer, "raw", buffer), io.FileIO):  # a console of Windows, say
        return stream
    file = io.BufferedWriter(Unfailing(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(file, stream.encoding, "backslashreplace", line_buffering=True)


def run_stage(main: Callable[[], None]) -> None:
    """Runs a stage's `main`; a mistake of the user's ends in a message, not in a traceback.

    Ctrl-C leaves by the signal itself, so that DVC and the shell see a failure.
    """
    sys.stdout, sys.stderr = unfailing(sys.stdout), unfailing(sys.stderr)
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    except (MemoryError, RuntimeError) as error:
        reason = str(error) or "out of memory"
        if not re.search("out of memory|t allocate memory|nable to allocate", reason):
            raise
        sys.exit(
            f"error: not enough memory ({' '.join(reason.split())[:150]}).\n"
            f"Use a smaller model.hidden_dims or train.batch_size, or a machine that has more"
        )
    except OSError as error:
        # A full disk, a read-only folder, a file that is a folder: the system's words name it.
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        sys.exit(f"error: {what}")
