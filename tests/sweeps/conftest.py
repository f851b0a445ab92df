"""A project whose Git remote is a server, and whose DVC remote is a folder."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.project import Project


class Shared:
    def __init__(self, project: Project, bare: Path, storage: Path):
        self.project, self.bare, self.storage = project, bare, storage
        self.drivers: list[subprocess.Popen] = []
        self.folder = Path(project.env["XDG_CACHE_HOME"], "mnist-vae", "sweeps")

    def start(self, *command: str) -> subprocess.Popen:
        driver = subprocess.Popen(
            command, cwd=self.project.folder, env=self.project.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.drivers.append(driver)
        return driver

    def faults(self, **hooks: str) -> None:
        """The experiment on which a worker dies, for each hook of the server."""
        content = {"folder": str(self.folder), "storage": str(self.storage)}
        content |= {name.replace("_", "-"): value for name, value in hooks.items()}
        (self.bare / "faults.json").write_text(json.dumps(content))

    def references(self) -> dict[str, str]:
        """The commit of each experiment on the server."""
        lines = self.project.run("git", "ls-remote", "origin", "refs/exps/*").stdout.splitlines()
        return {line.rpartition("/")[2]: line.split()[0] for line in lines}

    def server_saw(self) -> list[str]:
        """Each experiment that was pushed, and whether its data was there before it."""
        return (self.bare / "seen.txt").read_text().splitlines()

    def working_on(self, name: str) -> int | None:
        """The worker that has this experiment."""
        for lock in self.folder.glob("*.lock"):
            words = lock.read_text().split()
            if words[1:] == [name]:
                return int(words[0])
        return None

    def log(self, name: str) -> str:
        path = self.folder / "logs" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def at_work(self) -> list[str]:
        """The commands that run in the slots."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if str((process / "cwd").readlink()).startswith(str(self.folder)):
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:  # it has ended
                continue
        return found


def until(condition, seconds: float = 150):
    """Waits until `condition` returns something true, and returns it."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
    return value


@pytest.fixture
def shared(project, tmp_path):
    storage, base = tmp_path / "storage", tmp_path / "server"
    project.run("git", "init", "-q", "--bare", str(base / "project"))
    for hook in "pre-receive", "post-receive":
        script = f"#!/bin/sh\nexec {sys.executable} {Path(__file__).parent / 'hook.py'} {hook}\n"
        (base / "project" / "hooks" / hook).write_text(script)
        (base / "project" / "hooks" / hook).chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    daemon = subprocess.Popen(
        ["git", "daemon", "--export-all", "--enable=receive-pack", "--listen=127.0.0.1",
         f"--port={port}", f"--base-path={base}"],
        env=project.env, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    shared = Shared(project, base / "project", storage)
    shared.faults()
    project.dvc("remote", "add", "-d", "storage", str(storage))
    project.commit()
    url = f"git://127.0.0.1:{port}/project"
    project.run("git", "remote", "add", "origin", url)
    until(lambda: project.run("git", "push", "-q", url, "main", check=False).returncode == 0)
    yield shared
    for driver in shared.drivers:
        driver.kill()
    daemon.terminate()
    daemon.wait()
