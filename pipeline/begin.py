"""What `stages` does before anything else: it binds the stage to the DVC that started it, refuses a
Python without the project's packages, and notes the code as it is.

torch takes seconds to import. Without the note, an edit in these seconds to a file that Python has
already read would be recorded as what ran.
"""

import contextlib
import hashlib
import os
import select
import signal
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

NEEDED = "torch", "pydantic", "safetensors"
CODE = "stages", "pipeline", "datasets", "vae"  # the rooms that stages are made of


def end_with_dvc() -> None:
    """Where Linux can say that the DVC which started this stage has ended, the stage ends, too,
    instead of writing over the results of the next run.
    """
    its = os.getpid()
    with contextlib.suppress(OSError):
        while b"DVC_STAGE=" in Path(f"/proc/{its}/environ").read_bytes():  # the stage, its shell
            its = int(Path(f"/proc/{its}/stat").read_text().rpartition(")")[2].split()[1])
        dvc = os.pidfd_open(its)

        def wait() -> None:
            select.select([dvc], [], [])
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=wait, daemon=True).start()


if "DVC_STAGE" in os.environ and hasattr(os, "pidfd_open"):
    end_with_dvc()

if missing := [name for name in NEEDED if find_spec(name) is None]:
    sys.exit(
        f"error: {sys.executable or 'python'} has no {', '.join(missing)}.\n"
        f"Activate the environment (. .venv/bin/activate), or run: make repro"
    )


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


AT_START = {  # by absolute path
    path.absolute(): sha256(path) for room in CODE for path in Path(room).rglob("*.py")
}
