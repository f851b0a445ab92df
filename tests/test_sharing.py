"""The commands of docs/sharing.md run as printed, for two people and another project, with a Git
repository, a folder and an S3 server.
"""

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.project import ROOT, Project

DOCS = (ROOT / "docs/sharing.md").read_text()


class Docs:
    """The indented blocks of docs/sharing.md by heading, with the test's own places filled in."""

    def __init__(self, places: dict[str, str]):
        self.places = places

    def run(self, person: Project, heading: str, number: int, **env: str) -> str:
        """Runs a block after the first one, which says where the repository is."""
        pasted = self._block("Sharing results[^\n]*", 0) + self._block(heading, number)
        done = person.run("bash", "-euo", "pipefail", "-c", pasted, **env)
        return done.stdout + done.stderr

    def _block(self, heading: str, number: int) -> str:
        section = re.search(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", DOCS, re.S | re.M)[1]
        text = re.findall(r"(?:^    .*\n)+", section, re.M)[number]
        for place, ours in self.places.items():
            text = text.replace(place, ours)
        return text


@pytest.fixture
def docs(project, tmp_path) -> Docs:
    """For the project, which is the author's and has the results, and an empty Git repository."""
    repository = (tmp_path / "shared").as_uri()
    project.run("git", "init", "-q", "--bare", "-b", "main", str(tmp_path / "shared"))
    project.run("git", "remote", "add", "origin", repository)
    project.run("git", "push", "-q", "-u", "origin", "main")
    return Docs({
        "https://github.com/OWNER/mnist-vae.git": repository,
        "/mnt/team/mnist-vae": str(tmp_path / "storage"),
        "NAME": "quick",
    })  # fmt: skip


def someone(folder: Path) -> Project:
    folder.mkdir()
    return Project(folder)


@pytest.mark.slow
def test_a_colleague_has_the_results_and_then_an_experiment(project, docs, tmp_path):
    docs.run(project, "A folder", 0)
    colleague = someone(tmp_path / "colleague")
    output = docs.run(colleague, "A folder", 1)
    assert "Data and pipelines are up to date." in output
    assert "Running stage" not in output
    clone = Project(colleague.folder / "mnist-vae")
    assert clone.run("git", "status", "--porcelain").stdout == ""
    committed = clone.read("models/vae.safetensors")
    assert committed == project.read("models/vae.safetensors")

    project.dvc("exp", "run", "-n", "quick", "-S", "train.epochs=1", "train")
    docs.run(project, "Experiments", 0)
    assert "quick" in docs.run(clone, "Experiments", 1)
    model = clone.read("models/vae.safetensors")
    assert model == project.read("models/vae.safetensors") != committed
    assert "| <code>train&#46;epochs</code> | 3 | 1 |" in docs.run(clone, "Pull requests", 0)


@pytest.mark.slow
def test_results_go_through_s3_and_keys_stay_out_of_git(project, docs, tmp_path):
    pytest.importorskip("dvc_s3", reason="the extra s3 is not installed")
    moto = pytest.importorskip("moto.server", reason="the extra test is not installed")
    import boto3

    storage = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    storage.start()
    url = "http://{}:{}".format(*storage.get_host_and_port())
    keys = {"aws_access_key_id": "ours", "aws_secret_access_key": "t0psecret"}
    boto3.client("s3", "us-east-1", endpoint_url=url, **keys).create_bucket(Bucket="results")
    docs.places |= {"https://s3.example.org": url, "BUCKET": "results", "=...": "=t0psecret"}
    docs.places |= {"key_id ...": "key_id ours", "access_key ...": "access_key t0psecret"}
    try:
        docs.run(project, "S3", 1)
        docs.run(project, "S3", 2)
        project.run("git", "clone", "-q", str(tmp_path / "shared"), str(tmp_path / "clone"))
        clone = Project(tmp_path / "clone")
        docs.run(clone, "S3", 3)
    finally:
        storage.stop()
    assert clone.read("models/vae.safetensors") == project.read("models/vae.safetensors")
    output = clone.dvc("repro")
    assert output.count("didn't change, skipping") == 4, output
    assert clone.run("git", "status", "--porcelain").stdout == ""
    assert clone.run("git", "grep", "t0psecret", "--", ".dvc", check=False).stdout == ""


def environment(folder: Path) -> dict[str, str]:
    """A virtual environment with the packages of this one, but without this project and network."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    scheme = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", scheme))
    (packages / "these.pth").write_text(sysconfig.get_path("purelib"))
    return {
        "PATH": f"{folder}/bin:{Path(sys.executable).parent}:/usr/bin:/bin",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's inverse: no isolation, which needs an index
    }


@pytest.mark.slow
def test_another_project_uses_the_package_and_the_model(project, docs, tmp_path):
    docs.run(project, "A folder", 0)
    docs.run(project, "By version", 0)
    docs.places["COMMIT"] = project.run("git", "rev-parse", "HEAD").stdout.strip()
    other = someone(tmp_path / "other")
    env = environment(tmp_path / "environment")
    docs.run(other, "The model in another project", 0, **env)
    (code,) = re.findall(r"```python\n(.*?)```", DOCS, re.S)
    code += "import vae; print(vae.__file__, tuple(digits.shape), tuple(latents.shape))"
    done = other.run("python", "-c", code, **env)
    installed, shapes = done.stdout.split(maxsplit=1)
    assert Path(installed).is_relative_to(tmp_path / "environment")
    assert shapes == "(16, 1, 28, 28) (16, 12)\n"
    model = other.read("vae.safetensors")
    assert model == project.read("models/vae.safetensors")

    importing = someone(tmp_path / "importing")
    importing.run("git", "init", "-q")
    importing.dvc("init")
    output = docs.run(importing, "The model in another project", 1)
    assert "Data and pipelines are up to date." in output
    assert importing.read("vae.safetensors") == model
    assert docs.places["COMMIT"] in importing.read("vae.safetensors.dvc").decode()

    pinned = someone(tmp_path / "pinned")
    docs.run(pinned, "The model in another project", 2, **env)
    (pinned.folder / "vae.safetensors").unlink()
    docs.run(pinned, "By version", 1)
    assert pinned.read("vae.safetensors") == pinned.read("vae-1.0.0.safetensors") == model
