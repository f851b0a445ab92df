"""Runs Git."""

import os
import subprocess
from pathlib import Path

from vae.errors import UserError, in_short

# Git fails where it would ask for a password: nobody is there to answer.
NEVER_ASK = {"GIT_TERMINAL_PROMPT": "0"}


def in_repository() -> bool:
    """Whether this folder, or one above it, is a Git repository's. Needs no program `git`."""
    here = Path.cwd()
    return any((folder / ".git").exists() for folder in (here, *here.parents))


def git(*arguments: str, folder: str | Path = ".", exits: tuple[int, ...] = (0,)) -> str:
    """What `git` prints in `folder`. Raises UserError if it is missing, or for other exit codes."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, env=os.environ | NEVER_ASK, stdin=subprocess.DEVNULL,
            capture_output=True, text=True,
        )  # fmt: skip
    except FileNotFoundError:
        raise UserError(
            "the program git is not on PATH; commits are compared with it.\n"
            "Install git, and run this again"
        ) from None
    if done.returncode not in exits:
        raise UserError(f"git {arguments[0]} failed: {in_short(done.stderr)}")
    return done.stdout.strip()
