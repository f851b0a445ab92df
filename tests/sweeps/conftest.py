"""A project with a Git remote, whose hooks kill workers, and a DVC remote, which is a folder."""

import json
import re
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.project import Project


class Shared:
    def __init__(self, project: Project, bare: Path, storage: Path):
        self.project, self.bare, self.storage = project, bare, storage
        self.folder = Path(project.env["XDG_CACHE_HOME"], "mnist-vae", "sweeps")

    def faults(self, **hooks: str) -> None:
        """The experiment on which a worker dies, for each hook of the Git remote."""
        content = {"folder": str(self.folder), "storage": str(self.storage)}
        content |= {name.replace("_", "-"): value for name, value in hooks.items()}
        (self.bare / "faults.json").write_text(json.dumps(content))

    def published(self) -> list[str]:
        lines = self.project.run("git", "ls-remote", "origin", "refs/exps/*").stdout.splitlines()
        return sorted(line.rpartition("/")[2] for line in lines)

    def working_on(self, name: str) -> int:
        """The worker that has this experiment."""
        locks = "".join(lock.read_text() for lock in self.folder.glob("*.lock"))
        return int(re.search(rf"(\d+) {name}\n", locks)[1])

    def log(self, name: str) -> str:
        path = self.folder / "logs" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def at_work(self) -> list[Path]:
        """The processes that run in the slots."""
        found = []
        for process in Path("/proc").glob("[0-9]*/cwd"):
            with suppress(OSError):  # it has ended
                if process.readlink().is_relative_to(self.folder):
                    found.append(process)
        return found


@pytest.fixture
def shared(project, tmp_path):
    bare, storage = tmp_path / "remote", tmp_path / "storage"
    project.run("git", "init", "-q", "--bare", str(bare))
    for hook in "pre-receive", "post-receive":
        script = f"#!/bin/sh\nexec {sys.executable} {Path(__file__).parent / 'hook.py'} {hook}\n"
        (bare / "hooks" / hook).write_text(script)
        (bare / "hooks" / hook).chmod(0o755)
    shared = Shared(project, bare, storage)
    shared.faults()
    project.dvc("remote", "add", "-d", "storage", str(storage))
    project.commit()
    project.run("git", "remote", "add", "origin", str(bare))
    project.run("git", "push", "-q", "origin", "main")
    return shared
