"""The references in which DVC keeps experiments."""

from vae.common.git import git


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
