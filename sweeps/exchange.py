"""Where workers get the project from, and where its results go."""

import os
from dataclasses import dataclass

from dvc.config import Config
from dvc.exceptions import DvcException

from report.git import git
from vae.errors import UserError


@dataclass(frozen=True)
class Exchange:
    commit: str  # all experiments start from it
    git: str  # a URL, or a path
    dvc: dict[str, dict]  # settings for the clones: of a remote, if there is one
    cache: str = ""  # the clones' shared cache; empty: one for each machine

    def reference(self, name: str) -> str:
        """Where DVC keeps the experiment `name`."""
        return f"refs/exps/{self.commit[:2]}/{self.commit[2:]}/{name}"

    def published(self, name: str = "sweep-*") -> dict[str, str]:
        """The commit of each published experiment with this name, or of a sweep."""
        lines = git("ls-remote", self.git, self.reference(name)).splitlines()
        return {line.rpartition("/")[2]: line.split()[0] for line in lines}


def head() -> str:
    """The present commit. Raises UserError if the workspace differs from it."""
    if changed := git("diff", "--name-only", "HEAD").splitlines():
        raise UserError(
            f"{', '.join(changed[:3])}: not committed, and workers see only what is.\n"
            f"Commit the changes, or put them away: git stash"
        )
    return git("rev-parse", "HEAD")


def find_exchange(commit: str, git_remote: str | None) -> Exchange:
    """A Git remote, by name or URL, and DVC's default remote, which machines can reach. Without a
    Git remote, this repository and its cache, so that nothing needs to be set up.

    Raises UserError if a remote is missing, or the commit is not on the Git remote.
    """
    try:
        config = Config(".dvc")
    except DvcException as error:
        raise UserError(f"DVC cannot read its settings: {error}") from None
    if git_remote is None:
        cache = os.path.abspath(config["cache"].get("dir", ".dvc/cache"))
        return Exchange(commit, os.getcwd(), {}, cache)
    name = config["core"].get("remote")
    if name not in config["remote"]:
        raise UserError(
            "there is no default DVC remote, where models and data would go.\n"
            "Add one: dvc remote add -d NAME URL"
        )
    url = git("ls-remote", "--get-url", git_remote)
    path = os.path.join(git("rev-parse", "--show-toplevel"), url)
    url = path if os.path.exists(path) else url  # for clones, whose top folder is another
    branches = {line.split()[0] for line in git("ls-remote", "--heads", url).splitlines()}
    if git("rev-list", "--ignore-missing", "--max-count=1", commit, "--not", *branches):
        raise UserError(
            f"the commit {commit[:10]} is on no branch of {git_remote} that this clone knows.\n"
            f"Push it: git push {git_remote} HEAD"
        )
    store = str(config["remote"][name]["url"])
    if not store.isascii() or "%(" in store:
        raise UserError(
            f"DVC remote {store}: clones cannot have it. Use a path in ASCII without %("
        )
    return Exchange(commit, url, {"core": {"remote": name}, "remote": {name: {"url": store}}})
