"""Small IDX data, a real HTTP server for it, and temporary clones of the project."""

import fcntl
import gzip
import http.server
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from tests.project import OUTPUTS, ROOT, TEST_IMAGES, TRAIN_IMAGES, Project, build

torch.set_num_threads(1)  # pytest's other workers have the other processors


def idx(values: torch.Tensor) -> bytes:
    return struct.pack(f">4B{values.dim()}I", 0, 0, 8, values.dim(), *values.shape) + bytes(
        values.flatten().tolist()
    )


@pytest.fixture(scope="session")
def small_files() -> dict[str, bytes]:
    """Four IDX files in MNIST's format. Each digit is a bright square in a place of its own."""
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


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        self.server.answer(self)

    def log_message(self, *_):
        pass


def give_file(handler: Handler) -> None:
    content = handler.server.files.get(handler.path.lstrip("/"))
    if content is None:
        handler.send_error(404)
        return
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


@pytest.fixture
def server(small_files):
    """Serves the small files gzipped, as MNIST's mirrors do. `.files` may be changed, and so may
    `.answer`, a function of the handler of a request.
    """
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files = {f"{name}.gz": gzip.compress(its) for name, its in small_files.items()}
    server.requests, server.answer = [], give_file
    server.url = f"http://127.0.0.1:{server.server_port}"
    options = {"poll_interval": 0.02}  # which is how long it takes to shut down
    threading.Thread(target=server.serve_forever, kwargs=options, daemon=True).start()
    yield server
    server.shutdown()


class Stages:
    """Runs stages in a project, in forks of one process."""

    def __init__(self, process: subprocess.Popen, project: Project):
        self.process, self.project = process, project

    def run(
        self, name: str, killed_at: str = "", by: int = signal.SIGKILL,
        largest_file: int | None = None, first: str = "", **env: str,
    ) -> dict:  # fmt: skip
        """Runs a stage, or another module. `by` is the signal that it gets at `killed_at`."""
        request = {
            "module": f"stages.{name}" if name in OUTPUTS else name,
            "folder": str(self.project.folder), "env": env, "first": first,
            "killed_at": killed_at, "by": by, "largest_file": largest_file,
        }  # fmt: skip
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def succeed(self, *names: str, **options) -> str:
        """Runs each, which has to succeed, and returns what the last one printed."""
        for name in names:
            done = self.run(name, **options)
            assert done["code"] == 0, done
            assert "Traceback" not in done["stderr"]
        return done["stdout"]

    def fail(self, name: str, **options) -> str:
        """Runs one, which has to fail, and returns its error: a line or two after any warnings."""
        done = self.run(name, **options)
        assert (done["code"], "Traceback" in done["stderr"]) == (1, False), done
        _, error, said = done["stderr"].partition("error: ")
        assert 1 <= said.count("\n") <= 2, done
        return error + said

    def measure(self, stages: Iterable[str] = OUTPUTS) -> dict:
        """Runs these stages, and returns metrics/test.json."""
        self.succeed(*stages)
        return json.loads(self.project.read("metrics/test.json"))


@pytest.fixture(scope="session")
def forks(tmp_path_factory):
    nowhere = "http://127.0.0.1:1"
    env = {
        "http_proxy": nowhere, "https_proxy": nowhere, "no_proxy": "127.0.0.1", "PIP_NO_INDEX": "1",
        "PYTHONWARNDEFAULTENCODING": "1", "PYTHONWARNINGS": "ignore::EncodingWarning",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.forks"], cwd=ROOT, text=True,
        env=Project(shared(tmp_path_factory) / "project").env | env,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    yield process
    process.kill()


def shared(tmp_path_factory) -> Path:
    """A folder of all of pytest's processes."""
    temporary = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        temporary = temporary.parent
    return temporary / "reproduced"


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory, forks, small_files) -> Project:
    """A project as it is after `dvc repro`, with everything committed. Tests must not change it:
    see `project`. They share one, because it takes ten seconds.
    """
    folder = shared(tmp_path_factory)
    folder.mkdir(exist_ok=True)
    project = Project(folder / "project")
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            build(project, folder / "mirror", small_files)
            Stages(forks, project).succeed(*OUTPUTS)
            project.dvc("commit", "--force")
            project.commit()
            project.run("git", "gc", "-q")  # a few files are copied sooner than hundreds
            (folder / "done").touch()
    return project


@pytest.fixture
def project(reproduced, tmp_path) -> Project:
    """A copy of the reproduced project, which the test may change."""
    return reproduced.copied(tmp_path / "project")


@pytest.fixture
def stages(forks, project) -> Stages:
    return Stages(forks, project)
