"""How a stage ends when something is wrong: one or two lines and a non-zero exit code."""

import re
import signal
import sys
from collections.abc import Callable


class UserError(Exception):
    """Something a person can mend; its message names the thing and says how."""


def run_stage(main: Callable[[], None]) -> None:
    """Runs a stage's `main`; a mistake of the user's ends in a message, not in a traceback.

    Ctrl-C leaves by the signal itself, so that DVC and the shell see a failure.
    """
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
