"""The diffs of docs/extending.md apply, and what they add works like the project's own parts."""

import json
import math
import re
import signal

import pytest

from tests.project import ROOT, Project
from tests.training.test_resume import stop_training

DOCUMENT = (ROOT / "docs/extending.md").read_text()
DIFFS = re.findall(r"```diff\n(.*?)```", DOCUMENT, re.S)


def apply(project: Project, adds: str) -> int:
    """→ the number of lines of the new file."""
    (diff,) = (diff for diff in DIFFS if f'"{adds}"' in diff)
    assert len(re.findall("^\\+\\+\\+ ", diff, re.M)) == 2  # a file and a line
    changed = re.search(r"^--- a/.*?(?=^---)", diff, re.M | re.S)[0]
    assert len(re.findall(r"^[+-](?![+-])", changed, re.M)) == 1
    (project.folder / "change.diff").write_text(diff)
    project.run("git", "apply", "--unidiff-zero", "change.diff")
    (project.folder / "change.diff").unlink()
    return len(re.findall(r"^\+(?!\+\+)", diff, re.M)) - 1


def test_a_new_network_and_a_new_prior_go_on_when_killed_and_are_evaluated_and_reported(project):
    apply(project, "normed")
    apply(project, "scaled")
    project.set("network: mlp", "units: 48\n  network: normed")
    project.set("prior: standard", "prior: scaled")
    project.set("kl_weight: 5.0", "kl_weight: 1")
    project.set("epochs: 3", "epochs: 20")
    project.set("weight_decay: 0 ", "weight_decay: 0.1 ")
    assert stop_training(project, signal.SIGKILL) == -signal.SIGKILL
    output = project.dvc("repro")
    assert "going on after epoch" in output
    resumed = project.outputs("train")
    project.stage("train")
    assert b"prior.log_std" in project.read("models/vae.safetensors")
    assert b'\\"settings\\": {\\"units\\": 48}' in project.read("models/vae.safetensors")
    assert project.outputs("train") == resumed  # dropout and running averages included
    assert json.loads(project.read("metrics/test.json"))["elbo"] < 0
    project.run("python", "-m", "report")
    assert b"gelu" in project.read("report.html").lower()


@pytest.mark.parametrize("name", ["free_bits", "kl_warm_up", "beta_tc"])
def test_a_new_objective_is_at_most_25_lines_and_trains(project, name):
    assert apply(project, name) <= 25
    project.set("objective: bound", f"objective: {name}")
    project.set("posterior: bounded", "posterior: gaussian")
    before = json.loads(project.read("metrics/train.json"))
    project.stage("train")
    after = json.loads(project.read("metrics/train.json"))
    assert math.isfinite(after["validation"]["elbo"])
    assert after != before


def test_a_new_likelihood_trains_is_evaluated_and_reported(project):
    apply(project, "binomial")
    project.set("likelihood: bernoulli", "likelihood: binomial")
    project.set("binarization: threshold", "binarization: none")
    project.set("decoder_bias: random", "decoder_bias: log_odds")
    for stage in "prepare", "train", "evaluate", "sample":
        project.stage(stage)
    metrics = json.loads(project.read("metrics/test.json"))
    assert 0 < metrics["bits_per_dimension"] < 40
    project.run("python", "-m", "report")
    assert b"does not run in this page, since" in project.read("report.html")


def test_the_table_of_what_an_extension_takes_is_true():
    rows = dict(re.findall(r"\| \[(.*?)\]\(.*?\) \| 2 \| (\d+) \|", DOCUMENT))
    names = {
        "a network": "normed", "a likelihood": "binomial", "a prior": "scaled",
        "free bits": "free_bits", "KL warm-up": "kl_warm_up", "β-TCVAE": "beta_tc",
        "a data set": "shapes",
    }  # fmt: skip
    assert rows.keys() == names.keys()
    for what, name in names.items():
        (diff,) = (diff for diff in DIFFS if f'"{name}"' in diff)
        assert int(rows[what]) == len(re.findall(r"^\+(?!\+\+)", diff, re.M)), what


@pytest.mark.parametrize("name", ["normed", "scaled"])
def test_an_unknown_name_is_refused(project, name):
    key = "network: mlp" if name == "normed" else "prior: standard"
    project.set(key, f"{key.split(':')[0]}: {name}")
    done = project.stage("train", check=False)
    assert done.returncode == 1
    assert f"= '{name}': should be " in done.stderr
