"""The diffs and commands of docs/extending.md do what it says, like the project's own parts."""

import json
import math
import re

import numpy as np
import pytest

from sweeps.grid import grid
from tests.project import ROOT, Project

DOCUMENT = (ROOT / "docs/extending.md").read_text()
ROWS = {  # of its table: files, lines, and how
    what: (int(files), int(lines), how)
    for what, files, lines, how in re.findall(
        r"^\| (.*?) \| (\d+) \| (\d+) \| (.*) \|$", DOCUMENT, re.M
    )
}
CHANGES = [row for row, (files, *_) in ROWS.items() if files]
DIFFS = dict(zip(CHANGES, re.findall(r"```diff\n(.*?)```", DOCUMENT, re.S), strict=True))


def apply(project: Project, row: str) -> None:
    (project.folder / "change.diff").write_text(DIFFS[row])
    project.run("git", "apply", "change.diff")
    (project.folder / "change.diff").unlink()


@pytest.mark.parametrize("row", CHANGES)
def test_an_extension_takes_the_files_and_the_lines_that_the_table_says(row):
    files = re.findall(r"^--- (.*)\n\+\+\+ ", DIFFS[row], re.M)
    lines = re.findall(r"^[+-](?!\+\+ |-- )", DIFFS[row], re.M)
    assert ROWS[row][:2] == (len(files), len(lines))
    assert "-" not in lines
    if "/dev/null" in files:  # a file and a line
        assert len(re.findall(r"^\+(?!\+\+ )", DIFFS[row].partition("--- /dev")[0], re.M)) == 1


def test_a_new_network_and_a_new_prior_go_on_when_killed_and_are_evaluated_and_reported(stages):
    project = stages.project
    apply(project, "use another network")
    apply(project, "use another prior")
    project.set("network: mlp", "units: 48\n  network: normed")
    project.choose("model.prior=vamp train.kl_weight=1 train.weight_decay=0.1")
    stages.succeed("train")
    whole = project.outputs("train")
    assert b"prior.logits" in project.read("models/vae.safetensors")
    assert b'\\"settings\\": {\\"units\\": 48}' in project.read("models/vae.safetensors")
    stages.run("train", killed_at="plots/epochs/2.png")
    assert "going on after epoch 2" in stages.succeed("train")
    assert project.outputs("train") == whole  # dropout and running averages included
    assert stages.measure(["evaluate", "sample", "report"])["elbo"] < 0
    assert b"gelu" in project.read("report.html").lower()


@pytest.mark.parametrize(
    ("row", "choice"),
    [
        ("use free bits", "objective=free_bits"),
        ("use KL warm-up", "objective=kl_warm_up"),
        ("use β-TCVAE", "objective=beta_tc"),
        ("use another learning-rate schedule", "schedule=cosine"),
    ],
)
def test_a_new_objective_or_schedule_is_at_most_25_lines_and_trains(stages, row, choice):
    project = stages.project
    assert ROWS[row][1] <= 25
    apply(project, row)
    project.choose(f"train.{choice}")
    before = project.read("metrics/train.json")
    stages.succeed("train")
    assert project.read("metrics/train.json") != before


TESTS_OF = """
import sys

sys.argv[1:] = "-n0", "-k{}", "tests/model/test_{}.py"
for name in [its for its in sys.modules if its.partition(".")[0] == "tests"]:
    del sys.modules[name]  # they are of another folder
"""


def passed(stages, part: str, kind: str) -> int:
    """How many of the project's tests of a part pass."""
    said = stages.run("pytest", first=TESTS_OF.format(part, kind))["stdout"]
    assert "failed" not in said
    return int(re.search(r"^(\d+) passed", said, re.M)[1])


def test_a_new_posterior_passes_the_projects_tests_of_posteriors_and_is_evaluated(stages):
    project = stages.project
    apply(project, "use another posterior")
    assert passed(stages, "full", "densities") == 5
    project.choose("model.posterior=full train.gradient=stl evaluate.proposal_steps=2")
    assert -300 < stages.measure(["train", "evaluate", "sample"])["elbo"] < 0


def test_a_new_likelihood_passes_the_projects_tests_of_likelihoods_and_is_reported(stages):
    project = stages.project
    apply(project, "use another likelihood")
    assert passed(stages, "binomial", "likelihoods") == 10
    project.choose("model.likelihood=binomial prepare.binarization=none")
    project.choose("train.decoder_bias=log_odds")
    assert 0 < stages.measure()["bits_per_dimension"] < 40
    stages.succeed("report")
    page = project.read("report.html")
    assert b"in this page, since the page does not know its likelihood Binomial" in page
    assert b'id="explorer-data"' not in page


def test_a_new_data_set_goes_through_the_stages_and_the_report(stages):
    sklearn = pytest.importorskip("sklearn.datasets", reason="it is in the extra test")
    project, digits = stages.project, sklearn.load_digits()  # 8×8 pixels of 17 levels
    apply(project, "use another data set")
    images = (digits.images / 16 * 255).astype(np.uint8)
    np.savez(project.folder / "shapes.npz", images=images, labels=digits.target)
    project.choose("prepare.dataset=shapes prepare.limit=100 prepare.binarization=none")
    project.choose("model.likelihood=logistic model.network=conv model.channels=4 train.epochs=1")
    measured = stages.measure()
    assert measured["dataset"] == "Shapes"
    nats = measured["bits_per_dimension"] * 64 * math.log(2)
    assert nats == pytest.approx(-measured["log_likelihood"], abs=0.01)
    stages.succeed("report")
    assert b"8\xc3\x978 pixels" in project.read("report.html")


@pytest.mark.slow
def test_all_new_files_pass_the_checks_of_make_test(project):
    pattern = re.compile(r"^\+\+\+ b/(.*)\n@@ -0,0 .*\n((?:\+.*\n)+)", re.M)
    new = [its for diff in DIFFS.values() for its in pattern.findall(diff)]
    for path, lines in new:
        (project.folder / path).write_text(re.sub("^.", "", lines, flags=re.M))
    project.run("ruff", "format", "--check", *(path for path, _ in new))
    project.run("ruff", "check", *(path for path, _ in new))
    project.run("mypy")


@pytest.mark.parametrize("row", [row for row in ROWS if row not in CHANGES])
def test_what_needs_no_code_is_a_command(monkeypatch, row):
    monkeypatch.chdir(ROOT)
    (command,) = re.findall("`dvc exp run (.*?)`", ROWS[row][2])
    assert ROWS[row][:2] == (0, 0)
    assert len(grid(command.removeprefix("-S ").split(" -S "), "HEAD")) == 1


def test_a_new_metric_and_a_new_plot_are_dvcs(stages):
    project = stages.project
    apply(project, "add a metric")
    apply(project, "add a plot")
    measured = stages.measure(["evaluate"])
    changes = json.loads(project.dvc("metrics", "diff", "--json"))["metrics/test.json"]
    name = "elbo_1st_percentile"
    assert changes == {name: {"old": None, "new": measured[name]}}
    classes = [float(row["elbo"]) for row in project.table("plots/classes.csv")]  # of six each
    assert np.mean(classes) == pytest.approx(measured["elbo"], abs=0.001)
    assert measured[name] < min(classes)
    assert "ELBO of each class" in project.dvc("plots", "show", "--json", "plots/classes.csv")


# A module that writes down what it is called with.
RECORDER = """
import sys
from types import ModuleType

class Recorder(ModuleType):
    __path__ = []
    __getattr__ = lambda self, name: self
    def __call__(self, *args, **kwargs):
        if args or kwargs:
            with open("calls", "a") as file:
                print([*args, *kwargs.values()], file=file)
        return self

sys.modules["torch.utils.tensorboard"] = Recorder("torch.utils.tensorboard")
"""


def test_a_tracker_is_told_of_each_epoch_and_changes_no_bit(stages):
    project = stages.project
    before = project.outputs("train")
    apply(project, "log to TensorBoard")
    stages.succeed("train", first=RECORDER)
    assert project.outputs("train") == before
    calls = project.read("calls").decode()
    for epoch in project.table("plots/training.csv"):
        assert re.search(rf"{epoch['validation_elbo']}.* {epoch['epoch']}\]\n", calls)
