"""A private clone to run an experiment in.

DVC's locks hold a process number without a machine's name, so no two processes of different
machines may share a workspace. Slots share what is safe to share: the cache and the checkpoints.
"""

import fcntl
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from configobj import ConfigObj

from sweeps.exchange import Exchange
from sweeps.keeper import run_kept
from vae.common.errors import UserError
from vae.common.git import NEVER_ASK, git


def folder() -> Path:
    """Where a machine keeps its slots, their logs and, unless it is shared, their cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SWEEPS_FOLDER") or Path(cache, "mnist-vae", "sweeps")).absolute()


def checkpoints() -> Path:
    """Where checkpoints are kept, so that training continues in any slot."""
    return Path(os.environ.get("SWEEPS_CHECKPOINTS") or folder() / "checkpoints").absolute()


class CommandFailed(UserError):
    """A command failed in a slot; its message is the reason that the log gives."""


@dataclass(frozen=True)
class Slot:
    clone: Path
    log: Path
    lock: int

    def run(self, *command: str, folder: Path | None = None) -> None:
        """Runs `command` in the clone, or in `folder`; what it prints goes to the log. It dies with
        this process.

        Raises CommandFailed.
        """
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
        env = os.environ | NEVER_ASK | {"PATH": path, "DVC_EXP_AUTO_PUSH": "false"}
        with open(self.log, "a+") as log:
            print("$", *command, file=log, flush=True)
            start = log.tell()
            options = {"cwd": folder or self.clone, "env": env, "stdout": log, "stderr": log}
            if run_kept(list(command), lock=self.lock, **options):
                log.seek(start)
                raise CommandFailed(f"{_reason(log.read())}\nIts log: {self.log}")

    def dvc(self, *arguments: str) -> None:
        self.run(sys.executable, "-m", "dvc", *arguments)


def _reason(output: str) -> str:
    """The error message of a stage, or else of DVC or Git, in the output of a command."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for start in "error: ", "ERROR: ", "fatal: ":
        for i, line in enumerate(lines):
            if line.startswith(start):
                more = lines[i + 1 : i + 2] if start == "error: " else []
                more = [line for line in more if not line.startswith(("ERROR", "error", "To "))]
                return " ".join([line.removeprefix(start), *more])
    return lines[-1][:300] if lines else "it was killed, and printed nothing"


@contextmanager
def take_slot(exchange: Exchange, name: str) -> Iterator[Slot]:
    """The first slot of this machine that nobody holds, with the exchange's commit in it.

    A slot in which anything went wrong is cloned anew: a killed DVC leaves locks and half states.
    """
    place = folder()
    (place / "logs").mkdir(parents=True, exist_ok=True)
    key, lock = _lock(place, name)
    try:
        slot = Slot(place / key, place / "logs" / f"{name}.log", lock)
        ready = slot.clone / ".git" / "sweeps-ready"
        if ready.exists() and ready.read_text() == repr(exchange):
            ready.unlink()
            slot.run("git", "reset", "--quiet", "--hard", exchange.commit)
        else:
            _clone(slot, exchange)
        yield slot
        ready.write_text(repr(exchange))
    finally:
        os.close(lock)  # which frees it


def _lock(place: Path, name: str) -> tuple[str, int]:
    """Holds the first free slot; its lock file says which process works there, and on what."""
    for number in count():
        key = f"{platform.node()}-{number}"
        file = os.open(place / f"{key}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            os.close(file)
    os.ftruncate(file, 0)
    os.write(file, f"{os.getpid()} {name}\n".encode())
    return key, file


def _clone(slot: Slot, exchange: Exchange) -> None:
    if slot.clone.exists():
        shutil.rmtree(slot.clone)
    command = "git", "clone", "--quiet", "--no-checkout", exchange.git, str(slot.clone)
    slot.run(*command, folder=slot.clone.parent)
    try:
        slot.run("git", "checkout", "--quiet", "-B", "sweep", exchange.commit)
    except CommandFailed:
        raise UserError(
            f"the commit {exchange.commit[:10]} is not on a branch of {exchange.git}.\n"
            f"Push it: git push"
        ) from None
    for key, value in ("name", "sweeps"), ("email", f"sweeps@{platform.node()}"):
        try:
            git("config", f"user.{key}", folder=slot.clone)
        except UserError:  # DVC commits, and Git wants to know who
            git("config", f"user.{key}", value, folder=slot.clone)
    _configure_dvc(slot, exchange)
    checkpoints().mkdir(parents=True, exist_ok=True)
    (slot.clone / ".checkpoints").symlink_to(checkpoints())
    with open(slot.clone / ".git" / "info" / "exclude", "a") as file:
        file.write("/.checkpoints\n")  # .gitignore names a folder, and this is a link
    if exchange.dvc_remote:
        with suppress(CommandFailed):  # what the remote lacks is made anew
            slot.dvc("fetch", "--remote", exchange.dvc_remote)


def _configure_dvc(slot: Slot, exchange: Exchange) -> None:
    config = ConfigObj(encoding="utf-8")
    config["core"] = {"check_update": "false", "analytics": "false"}
    config["cache"] = {"dir": exchange.cache or str(folder() / "cache")}
    if exchange.dvc_remote:
        config[f'remote "{exchange.dvc_remote}"'] = {"url": exchange.dvc_url}
    with open(slot.clone / ".dvc" / "config.local", "wb") as file:
        config.write(file)
