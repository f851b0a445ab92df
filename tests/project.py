"""A clone of this project in a temporary folder, with small data and small parameters."""

import csv
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from datasets.mnist import SHA256

ROOT = Path(__file__).parent.parent


def committed(file: str) -> str:
    """A file of the last commit if the workspace has other values in params.yaml than that, and
    else of the workspace: tests are about the project, not about the latest experiment.
    """
    here = yaml.safe_load((ROOT / "params.yaml").read_text())
    there = yaml.safe_load(_of_last_commit("params.yaml")) or {}  # nothing without Git
    for section, values in there.items():
        if any(here.get(section, {}).get(name, value) != value for name, value in values.items()):
            return _of_last_commit(file)
    return (ROOT / file).read_text()


def _of_last_commit(file: str) -> str:
    command = ["git", "show", f"HEAD:{file}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout


DEFAULTS = yaml.safe_load(committed("params.yaml"))


def file_with(changes: dict[str, object]) -> str:
    """The text of a params.yaml: the defaults with `changes`, which have full names."""
    content = {part: dict(its) for part, its in DEFAULTS.items()}
    for name, value in changes.items():
        section, key = name.split(".")
        content[section][key] = value
    return yaml.safe_dump(content)


TRAIN_IMAGES, TEST_IMAGES = 240, 60
SMALL_PARAMS = {
    "validation_size: 5000": "validation_size: 40",
    "epochs: 15": "epochs: 3",
    "elbo_samples: 10": "elbo_samples: 2",
    "importance_samples: 500": "importance_samples: 8",
}


OUTPUTS = {  # of each stage, as patterns
    "prepare": ["data/train.safetensors", "data/validation.safetensors", "data/test.safetensors"],
    "train": [
        "models/vae.safetensors", "metrics/train.json", "plots/training.csv", "plots/epochs/*",
    ],
    "evaluate": [
        "metrics/test.json", "plots/splits.csv", "plots/bounds.csv", "plots/units.csv",
        "plots/reconstructions.png", "plots/latent.png", "plots/interpolations.png",
        "plots/traversals.png",
    ],
    "sample": ["plots/samples.png"],
}  # fmt: skip


class Project:
    """A clone of this project in a folder of its own, with the small data and small parameters."""

    def __init__(self, folder: Path):
        self.folder = folder
        state = folder.parent / "state"  # nothing of the user's is read or written
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(state),
            "XDG_CACHE_HOME": str(state / "cache"),
            "DVC_SITE_CACHE_DIR": str(state / "dvc"),
            "OMP_NUM_THREADS": "1",  # other tests have the other processors
            "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t",
            "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t",
        }  # fmt: skip

    def copied(self, folder: Path) -> "Project":
        """A copy, by a program that takes a third of the time that Python takes."""
        subprocess.run(["cp", "-a", self.folder, folder], check=True)
        return Project(folder)

    def run(self, *command: str, check: bool = True, **env: str) -> subprocess.CompletedProcess:
        done = subprocess.run(
            command, cwd=self.folder, env=self.env | env, text=True, capture_output=True
        )
        if check and done.returncode != 0:
            pytest.fail(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
        return done

    def dvc(self, *arguments: str, **options) -> str:
        done = self.run("dvc", *arguments, **options)
        return done.stdout + done.stderr

    def stage(self, name: str, check: bool = True, **env: str) -> subprocess.CompletedProcess:
        return self.run("python", "-m", f"stages.{name}", check=check, **env)

    def set(self, old: str, new: str, file: str = "params.yaml") -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def choose(self, changes: str) -> None:
        """Sets parameters, given as `section.name=value` with spaces between."""
        params = yaml.safe_load(self.read("params.yaml"))
        for change in changes.split():
            name, value = change.split("=")
            section, key = name.split(".")
            assert key in params[section]
            params[section][key] = yaml.safe_load(value)
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))

    def read(self, file: str) -> bytes:
        return (self.folder / file).read_bytes()

    def table(self, file: str) -> list[dict[str, str]]:
        return list(csv.DictReader(self.read(file).decode().splitlines()))

    def outputs(self, stage: str) -> dict[str, bytes]:
        """The content of each file of the stage that exists, by path."""
        paths = [
            path
            for pattern in OUTPUTS[stage]
            for path in self.folder.glob(pattern)
            if not path.name.startswith(".")
        ]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in sorted(paths)}

    def commit(self) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", "state")

    def move_into_a_larger_repository(self) -> None:
        """Makes the project's folder one of a repository that also has a file `other`."""
        shutil.rmtree(self.folder / ".git")
        larger = self.folder.with_name("larger")
        larger.mkdir()
        (larger / "other").touch()
        self.folder = self.folder.rename(larger / "project")
        self.run("git", "init", "-q", "-b", "main", "..")
        self.commit()


def build(project: Project, mirror: Path, files: dict[str, bytes]) -> None:
    """Makes the project, whose mirror has these files compressed."""
    mirror.mkdir()
    unwanted = shutil.ignore_patterns(
        ".git", ".venv", "cache", "tmp", "*.safetensors", "__pycache__", "config.local", ".*_cache",
        ".checkpoints", "epochs",
    )  # fmt: skip
    shutil.copytree(ROOT, project.folder, ignore=unwanted)
    (project.folder / "params.yaml").write_text(committed("params.yaml"))
    digests = {}  # of FashionMNIST and KMNIST, which are the same small files
    for name, content in files.items():
        project.set(SHA256[name], hashlib.sha256(content).hexdigest(), "datasets/mnist.py")
        compressed = gzip.compress(content, mtime=0)
        (mirror / f"{name}.gz").write_bytes(compressed)
        digests[f"{name}.gz"] = hashlib.md5(compressed).hexdigest()
    published = 'dict(resolve_name(f"torchvision.datasets:{self.title}").resources)'
    project.set(published, repr(digests), "datasets/mnist.py")
    project.set("STALL_SECONDS = 15", "STALL_SECONDS = 1", "datasets/sources.py")
    project.set("mirror: null", f"mirror: {mirror.as_uri()}")
    for old, new in SMALL_PARAMS.items():
        project.set(old, new)
    project.run("git", "init", "-q", "-b", "main")
    project.commit()


def until(condition, seconds: float = 150):
    """Waits until `condition` returns something true, and returns that."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
    return value
