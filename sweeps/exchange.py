"""Where workers get the project from, and where its results go."""

import os
from dataclasses import dataclass
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo

from sweeps.references import remote_references
from vae.common.errors import UserError
from vae.common.git import git


@dataclass(frozen=True)
class Exchange:
    commit: str  # that all experiments start from
    git: str  # a URL, or a path
    dvc_remote: str | None = None  # where the data goes, by name and by URL
    dvc_url: str | None = None
    cache: str | None = None  # that all share, in the place of a remote; else each machine's own

    @property
    def is_here(self) -> bool:
        return self.dvc_remote is None


def head() -> str:
    """The present commit. Raises UserError if the workspace differs from it."""
    if not Path(".git").exists():
        raise UserError("there is no Git repository here: run from the root of a clone")
    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no").splitlines()
    if changed:
        files = ", ".join(line.split(maxsplit=1)[1] for line in changed[:3])
        more = " and others" if len(changed) > 3 else ""
        raise UserError(
            f"{files}{more}: not committed, and workers see only what is.\n"
            f"Commit the changes, or put them away: git stash"
        )
    return commit


def here(commit: str) -> Exchange:
    """Uses this repository and its cache, so that nothing needs to be set up."""
    with _repository() as repo:
        return Exchange(commit, git=os.getcwd(), cache=os.path.abspath(repo.cache.local_cache_dir))


def through_remotes(commit: str, git_remote: str, dvc_remote: str | None) -> Exchange:
    """A Git remote, by name or URL, and a DVC remote, by name, which machines can reach.

    Raises UserError if either is missing, or the commit is not on the Git remote.
    """
    exchange = Exchange(commit, _url(git_remote), *_dvc_remote(dvc_remote))
    on_remote = remote_references(exchange.git, "refs/heads/*").values()
    if not any(_contains(there, commit) for there in on_remote):
        raise UserError(
            f"the commit {commit[:10]} is on no branch of {git_remote} that this clone knows.\n"
            f"Push it: git push {git_remote} HEAD"
        )
    return exchange


def _url(git_remote: str) -> str:
    if git_remote in git("remote").split():
        return git("remote", "get-url", git_remote)
    if "/" in git_remote or ":" in git_remote:
        return git_remote
    raise UserError(
        f"there is no Git remote {git_remote!r}, from which workers clone and where results go.\n"
        f"Add it (git remote add {git_remote} URL), or name another: --git-remote NAME"
    )


def _dvc_remote(name: str | None) -> tuple[str, str]:
    with _repository() as repo:
        known = repo.config["remote"]
        name = name or repo.config["core"].get("remote")
        if name is None:
            raise UserError(
                "there is no default DVC remote, where models and data would go.\n"
                "Add one (dvc remote add -d NAME URL), or name one: --dvc-remote NAME"
            )
        if name not in known:
            raise UserError(
                f"there is no DVC remote {name!r}; known: {', '.join(known) or 'none'}.\n"
                f"Add it: dvc remote add {name} URL"
            )
        return name, str(known[name]["url"])


def _repository() -> Repo:
    try:
        return Repo()
    except DvcException as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"DVC cannot read its settings: {reason}") from None


def _contains(descendant: str, commit: str) -> bool:
    if descendant == commit:
        return True
    try:
        git("merge-base", "--is-ancestor", commit, descendant)
    except UserError:  # it is not, or this clone does not have it
        return False
    return True
