"""The few things asked of Git, each with an error that says what it was about."""

import os
import subprocess
from pathlib import Path

from vae.common.errors import UserError

# Git fails where it would ask for a password: nobody is there to answer.
NEVER_ASK = {"GIT_TERMINAL_PROMPT": "0"}


def git(*arguments: str, folder: str | Path = ".") -> str:
    """What Git prints. Raises UserError with its reason."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=os.environ | NEVER_ASK,
        )
    except FileNotFoundError:
        raise UserError("the program git is not on PATH.\nInstall it, and run this again") from None
    if done.returncode:
        reason = " ".join(done.stderr.split())[:200]
        raise UserError(f"git {arguments[0]} failed: {reason}")
    return done.stdout.strip()


def reference(commit: str, name: str) -> str:
    """Where DVC keeps the experiment `name` that started from `commit`."""
    return f"refs/exps/{commit[:2]}/{commit[2:]}/{name}"


def remote_references(url: str, *patterns: str) -> dict[str, str]:
    """The commit of each reference at `url` that matches."""
    lines = git("ls-remote", url, *patterns).splitlines()
    return {reference: commit for commit, _, reference in (line.partition("\t") for line in lines)}


def published(url: str, commit: str) -> set[str]:
    """The names of the experiments at `url` that started from `commit`."""
    prefix = reference(commit, "")
    return {found.removeprefix(prefix) for found in remote_references(url, f"{prefix}*")}
