"""What `stages` does before anything else: it binds the stage to the DVC that started it, refuses a
Python without the project's packages, and notes the code that Python loads.

DVC should record the code that ran. But files may change while a stage runs, and Python's bytecode
cache misses a change that keeps a file's size and time.
"""

import contextlib
import hashlib
import os
import select
import signal
import sys
import threading
from importlib.machinery import FileFinder, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, TracebackType

NEEDED = "torch", "pydantic", "safetensors"
ROOT = Path(__file__).absolute().parent.parent
CODE = "stages", "pipeline", "datasets", "vae"  # the rooms that stages are made of
LOADED: dict[Path, str] = {}  # the digest of each file of them that Python has loaded


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


class Noting(SourceFileLoader):
    """Compiles the file as it is now, and notes its digest."""

    def get_code(self, fullname: str) -> CodeType:
        content = self.get_data(self.path)
        LOADED[Path(self.path).absolute()] = hashlib.sha256(content).hexdigest()
        return self.source_to_code(content, self.path)


def find_noted(folder: str) -> FileFinder:
    """Python's hook for a folder of modules: only those of the project's code."""
    path = Path(folder).absolute()
    if path == ROOT or any(path.is_relative_to(ROOT / room) for room in CODE):
        return FileFinder(folder, (Noting, [".py"]))
    raise ImportError


def explain(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Python's hook for what ends a program: a module that cannot be imported takes two lines."""
    name = error.name or "" if isinstance(error, ImportError) else ""
    if kind is ModuleNotFoundError and name.partition(".")[0] in CODE:
        print(
            f"error: there is no module {name} in {ROOT}.\n"
            f"If its file is new, run git add: DVC's queue has only what Git knows",
            file=sys.stderr,
        )
    elif isinstance(error, ImportError) and "torch" in f"{name} {error}":
        print(
            f"error: Python cannot load torch ({error}).\n"
            f"Give it more memory (ulimit -v), or delete .venv and run: make repro",
            file=sys.stderr,
        )
    else:
        sys.__excepthook__(kind, error, where)


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

sys.excepthook = explain
for module in [its for name, its in sys.modules.items() if name.partition(".")[0] in CODE]:
    if module.__file__:  # loaded before this line
        LOADED[Path(module.__file__).absolute()] = sha256(module.__file__)
sys.path_hooks.insert(0, find_noted)
sys.path_importer_cache.clear()  # forget the finders that were there before
