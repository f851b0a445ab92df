"""The diffs and commands of docs/extending.md do what it says, like the project's own parts."""

import csv
import json
import math
import re

import numpy as np
import pytest
from PIL import Image

from tests.project import ROOT, Project
from vae.images import load_images

DOCUMENT = (ROOT / "docs/extending.md").read_text()
DIFFS = re.findall(r"```diff\n(.*?)```", DOCUMENT, re.S)
ROWS = {  # of its table: files, lines, and how
    what: (int(files), int(lines), how)
    for what, files, lines, how in re.findall(
        r"^\| (.*?) \| (\d+) \| (\d+) \| (.*) \|$", DOCUMENT, re.M
    )
}
MARKS = {  # what only the diff of a row has
    "use another likelihood": '"binomial"',
    "use free bits": '"free_bits"',
    "use KL warm-up": '"kl_warm_up"',
    "use β-TCVAE": '"beta_tc"',
    "use another learning-rate schedule": '"cosine"',
    "use another posterior": '"full"',
    "use another network": '"normed"',
    "use another prior": '"scaled"',
    "use another data set": '"shapes"',
    "add a metric": '"elbo_1st_percentile"',
    "add a plot": '"plots/classes.csv"',
    "log to MLflow": "import mlflow",
    "log to TensorBoard": "torch.utils.tensorboard",
    "log to Weights & Biases": "import wandb",
}
TRACKERS = {  # each one's module
    "log to MLflow": "mlflow",
    "log to TensorBoard": "torch.utils.tensorboard",
    "log to Weights & Biases": "wandb",
}


def diff_of(row: str) -> str:
    (diff,) = (diff for diff in DIFFS if MARKS[row] in diff)
    return diff


def apply(project: Project, row: str) -> None:
    (project.folder / "change.diff").write_text(diff_of(row))
    project.run("git", "apply", "change.diff")
    (project.folder / "change.diff").unlink()


def test_the_table_of_what_an_extension_takes_is_true():
    assert {row for row, (files, *_) in ROWS.items() if files} == MARKS.keys()
    assert len(DIFFS) == len(MARKS)
    for row in MARKS:
        diff = diff_of(row)
        files = re.findall(r"^--- (.*)\n\+\+\+ ", diff, re.M)
        lines = re.findall(r"^[+-](?!\+\+ |-- )", diff, re.M)
        assert ROWS[row][:2] == (len(files), lines.count("+")), row
        assert "-" not in lines, row
        if "/dev/null" in files:
            changed = diff.partition("--- /dev/null")[0]
            assert len(re.findall(r"^\+(?!\+\+ )", changed, re.M)) == 1, row  # a file and a line


def test_a_new_network_and_a_new_prior_go_on_when_killed_and_are_evaluated_and_reported(stages):
    project = stages.project
    apply(project, "use another network")
    apply(project, "use another prior")
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


@pytest.mark.parametrize("row", ["use free bits", "use KL warm-up", "use β-TCVAE"])
def test_a_new_objective_is_at_most_25_lines_and_trains(stages, row):
    project = stages.project
    assert ROWS[row][1] <= 25
    apply(project, row)
    project.set("objective: bound", f"objective: {MARKS[row][1:-1]}")
    project.set("posterior: bounded", "posterior: gaussian")
    before = json.loads(project.read("metrics/train.json"))
    stages.succeed("train")
    after = json.loads(project.read("metrics/train.json"))
    assert math.isfinite(after["validation"]["elbo"])
    assert after != before


def test_a_new_schedule_trains_and_its_file_decides_the_checkpoint(stages):
    project = stages.project
    apply(project, "use another learning-rate schedule")
    before = project.read("models/vae.safetensors")
    project.set("schedule: constant", "schedule: cosine")
    stages.run("train", killed_at="plots/epochs/2.png")
    project.set("0.5 + 0.5", "0.6 + 0.4", "vae/training/cosine.py")
    assert "going on" not in stages.succeed("train")  # with half of another schedule's training
    other = project.read("models/vae.safetensors")
    project.set("0.6 + 0.4", "0.5 + 0.5", "vae/training/cosine.py")
    assert "going on after epoch 2" in stages.succeed("train")
    assert len({before, other, project.read("models/vae.safetensors")}) == 3


def test_a_new_posterior_passes_the_projects_tests_of_posteriors_and_is_evaluated(stages):
    project = stages.project
    apply(project, "use another posterior")
    said = project.run("pytest", "-n0", "-kfull", "tests/model/test_densities.py").stdout
    assert re.search(r"^6 passed, \d+ deselected", said, re.M)
    project.set("posterior: bounded", "posterior: full")
    project.set("gradient: reparameterized", "gradient: stl")
    project.set("proposal_steps: 0", "proposal_steps: 2")
    assert -300 < stages.measure(["train", "evaluate", "sample"])["elbo"] < 0


def test_a_new_likelihood_trains_is_evaluated_and_reported(stages):
    project = stages.project
    apply(project, "use another likelihood")
    project.set("likelihood: bernoulli", "likelihood: binomial")
    project.set("binarization: threshold", "binarization: none")
    project.set("decoder_bias: random", "decoder_bias: log_odds")
    assert 0 < stages.measure()["bits_per_dimension"] < 40
    stages.succeed("report")
    assert b"does not run in this page, since" in project.read("report.html")


def test_a_new_data_set_goes_through_the_stages_and_the_report(stages):
    load_digits = pytest.importorskip(
        "sklearn.datasets", reason="it is in the extra test"
    ).load_digits
    project, digits = stages.project, load_digits()  # 8×8 pixels of 17 levels
    apply(project, "use another data set")
    images = (digits.images / 16 * 255).astype(np.uint8)
    np.savez(project.folder / "shapes.npz", images=images, labels=digits.target)
    project.choose("prepare.dataset=shapes prepare.limit=100 prepare.binarization=none")
    project.choose("model.likelihood=logistic model.network=conv model.channels=4 train.epochs=1")
    measured = stages.measure()
    assert measured["dataset"] == "Shapes"
    nats = measured["bits_per_dimension"] * 64 * math.log(2)
    assert nats == pytest.approx(-measured["log_likelihood"], abs=0.01)
    for split, size in ("train", 100), ("validation", 40), ("test", 1000):
        images = load_images(project.folder / f"data/{split}.safetensors")
        assert images.pixels.shape == (size, 1, 8, 8)
        assert len(images.pixels.unique()) == 17
    stages.succeed("report")
    assert b"8\xc3\x978 pixels" in project.read("report.html")


@pytest.mark.parametrize(
    ("row", "shape", "levels"),
    [
        ("use another image size", (40, 3, 64, 64), 2),
        ("use colour", (40, 3, 32, 32), 256),
        ("use my own pictures", (40, 3, 32, 32), 2),
        ("use fewer training images", (100, 1, 28, 28), 2),
    ],
)
def test_what_needs_no_code_is_a_command(stages, tmp_path, row, shape, levels):
    files, lines, how = ROWS[row]
    assert (files, lines) == (0, 0)
    project = stages.project
    pictures = tmp_path / "pictures" if "folder=" in how else project.folder / "data/pictures"
    pictures.mkdir(exist_ok=True)
    drawn = np.random.default_rng(0).integers(0, 256, (60, 20, 20, 3), dtype=np.uint8)
    for number, pixels in enumerate(drawn):
        Image.fromarray(pixels).save(pictures / f"{number}.png")
    (command,) = re.findall("`dvc exp run (.*?)`", how)
    chosen = command.replace("-S ", "").replace("/home/me/pictures", str(pictures))
    chosen = chosen.replace("limit=1000", "limit=100")  # of the small data
    size = "" if "limit" in how else " prepare.validation_size=10"
    project.choose(f"{chosen}{size} train.epochs=1")
    stages.succeed("prepare", "train")
    images = load_images(project.folder / "data/train.safetensors")
    assert (tuple(images.pixels.shape), images.levels) == (shape, levels)


def test_a_new_metric_and_a_new_plot_are_dvcs(stages):
    project = stages.project
    apply(project, "add a metric")
    apply(project, "add a plot")
    measured = stages.measure(["evaluate"])
    changes = json.loads(project.dvc("metrics", "diff", "--json"))["metrics/test.json"]
    name = "elbo_1st_percentile"
    assert changes == {name: {"old": None, "new": measured[name]}}
    with open(project.folder / "plots/classes.csv") as file:
        classes = [float(row["elbo"]) for row in csv.DictReader(file)]  # of six images each
    assert np.mean(classes) == pytest.approx(measured["elbo"], abs=0.001)
    assert measured[name] < min(classes)
    (shown,) = json.loads(project.dvc("plots", "show", "--json", "plots/classes.csv"))[
        "data"
    ].values()
    assert "ELBO of each class" in json.dumps(shown)


# A module of any name, which writes down what it is called with.
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

sys.modules["{module}"] = Recorder("{module}")
"""


@pytest.mark.parametrize("row", TRACKERS)
def test_a_tracker_is_told_of_each_epoch_and_changes_no_bit(stages, row):
    project = stages.project
    before = project.outputs("train")
    apply(project, row)
    stages.succeed("train", first=RECORDER.replace("{module}", TRACKERS[row]))
    assert project.outputs("train") == before
    calls = project.read("calls").decode()
    with open(project.folder / "plots/training.csv") as file:
        for epoch in csv.DictReader(file):
            assert re.search(rf"{epoch['validation_elbo']}.* {epoch['epoch']}\]\n", calls)
