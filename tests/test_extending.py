"""The diffs of docs/extending.md apply, and what they add works like the project's own parts."""

import json
import math
import re

import numpy as np
import pytest

from tests.project import ROOT, Project
from vae.images import load_images

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


def test_a_new_network_and_a_new_prior_go_on_when_killed_and_are_evaluated_and_reported(stages):
    project = stages.project
    apply(project, "normed")
    apply(project, "scaled")
    project.set("network: mlp", "units: 48\n  network: normed")
    project.set("prior: standard", "prior: scaled")
    project.set("kl_weight: 5.0", "kl_weight: 1")
    project.set("weight_decay: 0 ", "weight_decay: 0.1 ")
    stages.succeed("train")
    whole = project.outputs("train")
    assert b"prior.log_std" in project.read("models/vae.safetensors")
    assert b'\\"settings\\": {\\"units\\": 48}' in project.read("models/vae.safetensors")
    stages.run("train", killed_at="plots/epochs/2.png")
    assert "going on after epoch 2" in stages.succeed("train")
    assert project.outputs("train") == whole  # dropout and running averages included
    assert stages.measure(["evaluate", "sample", "report"])["elbo"] < 0
    assert b"gelu" in project.read("report.html").lower()


@pytest.mark.parametrize("name", ["free_bits", "kl_warm_up", "beta_tc"])
def test_a_new_objective_is_at_most_25_lines_and_trains(stages, name):
    project = stages.project
    assert apply(project, name) <= 25
    project.set("objective: bound", f"objective: {name}")
    project.set("posterior: bounded", "posterior: gaussian")
    before = json.loads(project.read("metrics/train.json"))
    stages.succeed("train")
    after = json.loads(project.read("metrics/train.json"))
    assert math.isfinite(after["validation"]["elbo"])
    assert after != before


def test_a_new_likelihood_trains_is_evaluated_and_reported(stages):
    project = stages.project
    apply(project, "binomial")
    project.set("likelihood: bernoulli", "likelihood: binomial")
    project.set("binarization: threshold", "binarization: none")
    project.set("decoder_bias: random", "decoder_bias: log_odds")
    assert 0 < stages.measure()["bits_per_dimension"] < 40
    stages.succeed("report")
    assert b"does not run in this page, since" in project.read("report.html")


def test_a_new_data_set_goes_through_the_stages(stages):
    project = stages.project
    apply(project, "shapes")
    drawn = np.random.default_rng(0).integers(0, 256, (1200, 8, 8), dtype=np.uint8)
    np.savez(project.folder / "shapes.npz", images=drawn, labels=np.arange(1200) % 10)
    project.choose("prepare.dataset=shapes prepare.limit=100 train.epochs=1")
    measured = stages.measure()
    assert measured["dataset"] == "Shapes"
    nats = measured["bits_per_dimension"] * 64 * math.log(2)
    assert nats == pytest.approx(-measured["log_likelihood"], abs=0.01)
    for split, size in ("train", 100), ("validation", 40), ("test", 1000):
        images = load_images(project.folder / f"data/{split}.safetensors")
        assert images.pixels.shape == (size, 1, 8, 8)
        assert images.pixels.unique().tolist() == [0, 1]


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
