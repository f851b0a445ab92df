"""The diffs of docs/extending.md apply, and what they add works like the project's own parts."""

import json
import re
import signal

import pytest

from tests.project import ROOT, Project
from tests.training.test_resume import stop_training

DIFFS = re.findall(r"```diff\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.S)


def apply(project: Project, adds: str) -> None:
    (diff,) = (diff for diff in DIFFS if f'"{adds}"' in diff)
    assert len(re.findall("^\\+\\+\\+ ", diff, re.M)) == 2  # a file and a line
    changed = re.search(r"^--- a/.*?(?=^---)", diff, re.M | re.S)[0]
    assert len(re.findall(r"^[+-](?![+-])", changed, re.M)) == 1
    (project.folder / "change.diff").write_text(diff)
    project.run("git", "apply", "--unidiff-zero", "change.diff")
    (project.folder / "change.diff").unlink()


def test_a_new_network_and_a_new_prior_go_on_when_killed_and_are_evaluated_and_reported(project):
    apply(project, "normed")
    apply(project, "scaled")
    project.set("network: mlp", "network: normed")
    project.set("prior: standard", "prior: scaled")
    project.set("kl_weight: 5.0", "kl_weight: 1")
    project.set("hidden_dims: [512, 64]", "hidden_dims: [64]")
    project.set("epochs: 3", "epochs: 20")
    project.set("weight_decay: 0 ", "weight_decay: 0.1 ")
    assert stop_training(project, signal.SIGKILL) == -signal.SIGKILL
    output = project.dvc("repro")
    assert "going on after epoch" in output
    resumed = project.outputs("train")
    project.stage("train")
    assert b"prior.log_std" in project.read("models/vae.safetensors")
    assert project.outputs("train") == resumed  # dropout and running averages included
    assert json.loads(project.read("metrics/test.json"))["elbo"] < 0
    project.run("python", "-m", "report")
    assert b"gelu" in project.read("report.html").lower()


@pytest.mark.parametrize("name", ["normed", "scaled"])
def test_an_unknown_name_is_refused(project, name):
    key = "network: mlp" if name == "normed" else "prior: standard"
    project.set(key, f"{key.split(':')[0]}: {name}")
    done = project.stage("train", check=False)
    assert done.returncode == 1
    assert f"= '{name}': should be " in done.stderr
