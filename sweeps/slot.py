"""A private clone to run an experiment in.

DVC's locks hold a process number without a machine's name, so no two processes of different
machines may share a workspace. Slots share what is safe to share: the cache and the checkpoints.
"""

import fcntl
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dvc.config import Config, merge

from datasets.sources import cache_dir
from report.git import NEVER_ASK
from sweeps.exchange import Exchange
from sweeps.keeper import run_kept
from vae.errors import UserError


@dataclass(frozen=True)
class Slot:
    clone: Path
    log: Path
    lock: int

    def run(self, *command: str) -> None:
        """Runs `command` in the clone; what it prints goes to the log. It dies with this process.

        Raises UserError with the reason that the log gives.
        """
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
        env = os.environ | NEVER_ASK | {"PATH": path, "DVC_EXP_AUTO_PUSH": "false"}
        with open(self.log, "a+") as log:
            print("$", *command, file=log, flush=True)
            start = log.tell()
            if run_kept(command, lock=self.lock, cwd=self.clone, env=env, stdout=log, stderr=log):
                log.seek(start)
                raise UserError(f"{_reason(log.read())}\nIts log: {self.log}")


def _reason(output: str) -> str:
    for start in "error: ", "ERROR: ", "fatal: ":  # what a stage, DVC or Git begins an error with
        if found := re.search(f"^ *{start}(.+)", output, re.MULTILINE):
            return found[1]
    return output.strip()[-300:] or "it was killed, and printed nothing"


@contextmanager
def take_slot(exchange: Exchange, name: str) -> Iterator[Slot]:
    """The first slot of this machine that nobody holds, with the exchange's commit in it.

    A slot in which anything went wrong is cloned anew: a killed DVC leaves locks and half states.
    """
    folder = cache_dir().absolute() / "sweeps"
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    clone, lock = _lock(folder, name)
    try:
        slot = Slot(clone, folder / "logs" / f"{name}.log", lock)
        ready = clone / ".git" / "sweeps-ready"
        if ready.exists() and ready.read_text() == repr(exchange):
            ready.unlink()
            slot.run("git", "reset", "--quiet", "--hard", exchange.commit)
        else:
            _clone(slot, exchange)
        yield slot
        ready.write_text(repr(exchange))
    finally:
        os.close(lock)  # this frees it


def _lock(folder: Path, name: str, number: int = 0) -> tuple[Path, int]:
    """Holds the first free slot; its lock file says which process works there, and on what."""
    clone = folder / f"{platform.node()}-{number}"
    lock = os.open(f"{clone}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return _lock(folder, name, number + 1)
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()} {name}\n".encode())
    return clone, lock


def _clone(slot: Slot, exchange: Exchange) -> None:
    shutil.rmtree(slot.clone, ignore_errors=True)
    slot.clone.mkdir()
    # DVC commits, and Git wants to know who.
    who = "-c", "user.name=sweeps", "-c", f"user.email=sweeps@{platform.node()}"
    slot.run("git", "clone", "--quiet", "--no-checkout", *who, exchange.git, ".")
    slot.run("git", "checkout", "--quiet", "-B", "sweep", exchange.commit)
    shared, cache = slot.clone.parent, slot.clone / ".dvc" / "cache"
    folders = exchange.cache or shared / "cache", shared / "checkpoints"
    for link, folder in zip((cache, slot.clone / ".checkpoints"), folders, strict=True):
        os.makedirs(folder, exist_ok=True)
        link.symlink_to(folder)  # settings of DVC cannot have every path: not jürgen, not %(name)s
    with Config(str(slot.clone / ".dvc")).edit("local") as config:
        merge(config, {"core": {"check_update": "false"}, "cache": {"dir": os.path.relpath(cache)}})
        merge(config, exchange.dvc)
    if "remote" in exchange.dvc:
        with suppress(UserError):  # what the remote lacks is made anew
            slot.run("dvc", "fetch")
        slot.run("dvc", "push")  # fails here, before the training, if the remote cannot be used
