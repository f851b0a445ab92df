"""Small IDX data, a real HTTP server for it, and temporary clones of the project."""

import fcntl
import gzip
import hashlib
import http.server
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
import yaml

from vae.data.datasets import SHA256

ROOT = Path(__file__).parent.parent


def committed(file: str) -> str:
    """A file of the last commit, if an experiment was applied since: tests are about the project,
    not about what someone tried last. Otherwise the file as it is in the workspace.
    """

    def names(text: str) -> list[tuple]:  # DVC writes the file in a layout of its own
        return [(section, *its) for section, its in yaml.safe_load(text).items()]

    here = (ROOT / "params.yaml").read_text()
    command = ["git", "show", "HEAD:params.yaml"]
    there = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if there.returncode or here == there.stdout or names(here) != names(there.stdout):
        return (ROOT / file).read_text()
    command = ["git", "show", f"HEAD:{file}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


TRAIN_IMAGES, TEST_IMAGES = 240, 60
SMALL_PARAMS = {
    "validation_size: 5000": "validation_size: 40",
    "epochs: 15": "epochs: 3",
    "elbo_samples: 10": "elbo_samples: 2",
    "importance_samples: 500": "importance_samples: 8",
}


def idx(values: torch.Tensor) -> bytes:
    return struct.pack(f">4B{values.dim()}I", 0, 0, 8, values.dim(), *values.shape) + bytes(
        values.flatten().tolist()
    )


@pytest.fixture(scope="session")
def small_files() -> dict[str, bytes]:
    """Four IDX files in MNIST's format: a bright square for each digit, in a place of its own."""
    random = torch.Generator().manual_seed(0)
    files = {}
    for prefix, count in ("train", TRAIN_IMAGES), ("t10k", TEST_IMAGES):
        labels = torch.arange(count, dtype=torch.uint8) % 10
        images = torch.randint(0, 60, (count, 28, 28), dtype=torch.uint8, generator=random)
        for image, label in zip(images, labels.tolist(), strict=True):
            row, column = 4 + label // 4 * 7, 3 + label % 4 * 6
            image[row : row + 6, column : column + 5] = 230
        files[f"{prefix}-images-idx3-ubyte"] = idx(images)
        files[f"{prefix}-labels-idx1-ubyte"] = idx(labels)
    return files


@pytest.fixture(scope="session")
def small_digests(small_files) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in small_files.items()}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        content = self.server.files.get(self.path.lstrip("/"))
        self.server.requests.append(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        missing = self.server.announced_but_not_sent
        self.send_header("Content-Length", str(len(content) + missing))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def serve(files: dict[str, bytes]):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.requests, server.announced_but_not_sent = dict(files), [], 0
    server.url = f"http://127.0.0.1:{server.server_port}"
    options = {"poll_interval": 0.02}  # which is how long it takes to shut down
    threading.Thread(target=server.serve_forever, kwargs=options, daemon=True).start()
    return server


@pytest.fixture(scope="session")
def small_gzipped(small_files) -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in small_files.items()}


@pytest.fixture
def server(small_gzipped):
    """Serves the small files gzipped, as MNIST's mirrors do; `.files` may be changed."""
    server = serve(small_gzipped)
    yield server
    server.shutdown()


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
            "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t",
            "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t",
        }  # fmt: skip

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

    def read(self, file: str) -> bytes:
        return (self.folder / file).read_bytes()

    def outputs(self, stage: str) -> dict[str, bytes]:
        """Path and content of each file of the stage that is there."""
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


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory, small_digests, small_gzipped) -> Project:
    """A project after `dvc repro`, everything committed. Not to be changed: see `project`.

    It takes 15 seconds, so that the tests' processes share one.
    """
    temporary = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        temporary = temporary.parent  # of all processes
    project = Project(temporary / "reproduced" / "project")
    with open(temporary / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not project.folder.exists():
            build(project, temporary / "mirror", small_digests, small_gzipped)
    return project


def build(project: Project, mirror: Path, digests: dict[str, str], files: dict[str, bytes]) -> None:
    mirror.mkdir()
    for name, content in files.items():
        (mirror / name).write_bytes(content)
    unwanted = shutil.ignore_patterns(
        ".git", ".venv", "cache", "tmp", "*.safetensors", "__pycache__", "config.local", ".*_cache",
        ".checkpoints", "epochs",
    )  # fmt: skip
    shutil.copytree(ROOT, project.folder, ignore=unwanted)
    (project.folder / "params.yaml").write_text(committed("params.yaml"))
    for name, digest in digests.items():
        project.set(SHA256[name], digest, "vae/data/datasets.py")
    # FashionMNIST and KMNIST are the same small files, under digests of their own.
    digests = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    published = 'dict(resolve_name(f"torchvision.datasets:{self.title}").resources)'
    project.set(published, repr(digests), "vae/data/datasets.py")
    project.set("STALL_SECONDS = 15", "STALL_SECONDS = 1", "vae/data/sources.py")
    project.set("mirror: null", f"mirror: {mirror.as_uri()}")
    for old, new in SMALL_PARAMS.items():
        project.set(old, new)
    project.run("git", "init", "-q", "-b", "main")
    project.commit()
    project.dvc("repro")
    project.commit()


@pytest.fixture
def project(reproduced, tmp_path) -> Project:
    """A reproduced project of the test's own."""
    shutil.copytree(reproduced.folder, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


class Stages:
    """Runs stages in a project, in forks of one process."""

    def __init__(self, process: subprocess.Popen, project: Project):
        self.process, self.project = process, project

    def run(self, stage: str, killed_at: str = "", largest_file: int | None = None, **env) -> dict:
        request = {
            "stage": stage, "folder": str(self.project.folder), "env": env,
            "killed_at": killed_at, "largest_file": largest_file,
        }  # fmt: skip
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="session")
def forks(reproduced):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.forks"], cwd=reproduced.folder, text=True,
        env=reproduced.env | {"http_proxy": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1",
                              "no_proxy": "127.0.0.1", "PIP_NO_INDEX": "1"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    yield process
    process.stdin.close()
    process.wait()


@pytest.fixture
def stages(forks, project) -> Stages:
    return Stages(forks, project)
