"""Git's answers."""

import subprocess

from vae.common.errors import UserError


def git(*arguments: str, exits: tuple[int, ...] = (0,)) -> str:
    """What Git prints. Raises UserError if it is not there, or exits with another code."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError(
            "the program git is not on PATH; commits are compared with it.\n"
            "Install git, and run this again"
        ) from None
    if done.returncode not in exits:
        reason = " ".join(done.stderr.split())[:200]
        raise UserError(f"git {arguments[0]} does not work here: {reason}")
    return done.stdout
