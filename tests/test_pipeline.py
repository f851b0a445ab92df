"""The pipeline as its users run it: real commands, in a clone, on small data."""

import csv
import hashlib
import io
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image
from safetensors import safe_open

from tests.conftest import ROOT, TEST_IMAGES, TRAIN_IMAGES, Project

STAGES = ["prepare", "train", "evaluate", "sample"]


def stages_run(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


def metrics(project: Project) -> dict:
    return json.loads(project.read("metrics/test.json"))


def table(project: Project, file: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(project.read(file).decode())))


def test_outputs_are_those_of_the_contract(reproduced):
    for name, count in ("train", TRAIN_IMAGES - 40), ("validation", 40), ("test", TEST_IMAGES):
        with safe_open(reproduced.folder / f"data/{name}.safetensors", "pt") as file:
            assert file.get_tensor("images").shape == (count, 28, 28)
            assert file.get_tensor("labels").shape == (count,)
            assert {
                "dataset": "MNIST",
                "binarization": "threshold",
                "threshold": "128",
            }.items() <= (file.metadata().items())
    with safe_open(reproduced.folder / "models/vae.safetensors", "pt") as file:
        assert json.loads(file.metadata()["architecture"]) == {
            "hidden_dims": [512, 64], "latent_dim": 12, "posterior": "bounded",
            "prior": "standard", "residual": False,
        }  # fmt: skip
    train = json.loads(reproduced.read("metrics/train.json"))
    assert train["epochs"] == 3
    test = metrics(reproduced)
    assert list(test) == [
        "elbo", "elbo_stderr", "reconstruction", "kl", "log_likelihood", "log_likelihood_stderr",
        "importance_samples", "log_likelihood_spread", "effective_samples", "bits_per_dimension",
        "active_units", "binarization",
    ]  # fmt: skip
    splits = table(reproduced, "plots/splits.csv")
    assert [row["split"] for row in splits] == ["train", "validation", "test"]
    bounds = table(reproduced, "plots/bounds.csv")
    assert [row["k"] for row in bounds] == ["1", "8"]
    assert float(bounds[1]["bound"]) == test["log_likelihood"]
    assert float(bounds[1]["spread"]) == test["log_likelihood_spread"]
    units = table(reproduced, "plots/units.csv")
    assert sum(float(row["kl"]) for row in units) == pytest.approx(test["kl"], abs=2e-3)
    assert sum(float(row["variance_of_mean"]) > 0.01 for row in units) == test["active_units"]
    for name in "elbo", "kl", "log_likelihood":
        assert float(splits[2][name]) == test[name]
    numbers = [
        {name: float(row[name]) for name in ("elbo", "reconstruction", "kl")} for row in splits
    ]
    for part in (train["train"], train["validation"], *numbers):
        assert part["elbo"] == pytest.approx(part["reconstruction"] - part["kl"], abs=2e-4)
        assert part["reconstruction"] < 0 < part["kl"]
    assert test["elbo"] < test["log_likelihood"]
    rows = table(reproduced, "plots/training.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert list(rows[0]) == [
        "epoch", "train_elbo", "validation_elbo", "train_reconstruction",
        "validation_reconstruction", "train_kl", "validation_kl",
    ]  # fmt: skip
    assert float(rows[0]["validation_elbo"]) < float(rows[2]["validation_elbo"])
    for picture in ("samples", "reconstructions", "latent", "interpolations", "traversals"):
        with Image.open(reproduced.folder / f"plots/{picture}.png") as image:
            image.verify()


def test_nothing_runs_when_nothing_changed(project):
    assert stages_run(project.dvc("repro")) == []
    assert project.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("params.yaml", "columns: 4", "columns: 8", ["sample"]),
        ("params.yaml", "kl_weight: 5.0", "kl_weight: 2", ["train", "evaluate", "sample"]),
        ("params.yaml", "threshold: 128", "threshold: 30", STAGES),
        ("stages/pictures.py", "s=3, alpha", "s=4, alpha", ["evaluate", "sample"]),
        ("stages/vae.py", "PIXELS = 28 * 28", "PIXELS = 784", ["train", "evaluate", "sample"]),
    ],
)
def test_a_change_runs_what_depends_on_it_again(project, file, old, new, expected):
    project.set(old, new, file)
    assert stages_run(project.dvc("repro")) == expected


def test_experiment_and_its_comparisons(project):
    output = project.run("sh", "-c", "dvc exp run -n fast $(cat presets/fast)").stdout
    assert stages_run(output) == ["train", "evaluate", "sample"]
    changes = project.dvc("metrics", "diff", "--json")
    assert json.loads(changes)["metrics/test.json"]["elbo"]["diff"] != 0
    assert "train.kl_weight" in project.dvc("params", "diff")
    table = project.dvc("exp", "show", "--csv")
    assert "fast" in table
    assert ",elbo," in table.splitlines()[0]

    project.dvc("plots", "diff", "HEAD", "workspace")
    page = project.read("dvc_plots/index.html").decode()
    for title in ("ELBO in nats per image", "Reconstruction, E", "KL of the posterior"):
        assert title in page
    for picture in ("samples", "reconstructions", "latent", "interpolations", "traversals"):
        assert f"plots_{picture}.png" in page
    show = json.loads(project.dvc("plots", "show", "--json", "ELBO"))
    fields = re.findall(r"(train_elbo|validation_elbo)", json.dumps(show))
    assert set(fields) == {"train_elbo", "validation_elbo"}  # on one chart


def test_a_stochastic_experiment_runs(project):
    project.dvc("exp", "run", "-S", "prepare.binarization=stochastic", "-S", "model.latent_dim=1")
    with safe_open(project.folder / "data/train.safetensors", "pt") as file:
        assert file.get_tensor("images").max() == 230
        assert file.metadata()["binarization"] == "stochastic"
    assert metrics(project)["elbo"] < 0


def test_a_model_is_not_measured_on_data_of_another_protocol(project):
    before = project.outputs("evaluate")
    project.set("binarization: threshold", "binarization: stochastic")
    project.stage("prepare")
    done = project.stage("evaluate", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "error: data/train.safetensors is binarized as 'stochastic', the model was trained on "
        "'threshold 128'"
    )
    assert project.outputs("evaluate") == before


@pytest.mark.parametrize(
    "settings",
    [
        ["model.prior=mixture", "train.importance_samples=3", "train.gradient=dreg"],
        ["train.gradient=stl", "train.kl_warmup_epochs=2", "train.grids=0"],
        ["model.residual=true", "model.hidden_dims=[64,64]", "train.ema=0.9", "train.keep=best"],
    ],
    ids=lambda settings: settings[0],
)
def test_every_objective_and_prior_runs(project, settings):
    arguments = [word for setting in settings for word in ("-S", setting)]
    arguments += ["-S", "train.kl_weight=1", "-S", "model.posterior=gaussian"]
    project.dvc("exp", "run", *arguments)
    assert metrics(project)["elbo"] < metrics(project)["log_likelihood"] < 0
    assert any((project.folder / "plots/epochs").iterdir()) == ("train.grids=0" not in settings)
    assert "up to date" in project.dvc("status")


def test_a_bad_parameter_stops_every_stage_before_any_work(project):
    project.set("learning_rate: 0.001", "learning_rate: -1")
    for stage in STAGES:
        done = project.stage(stage, check=False)
        assert done.returncode == 1
        assert done.stderr.splitlines() == [
            "error: params.yaml: train.learning_rate = -1: should be greater than 0"
        ]
    assert project.run("git", "status", "--porcelain").stdout == " M params.yaml\n"


@pytest.mark.parametrize("stage", ["train", "evaluate", "sample"])
def test_a_device_that_is_not_there_is_refused(project, stage):
    text = project.read("params.yaml").decode()
    section = text.index(f"\n{stage}:")
    changed = text[:section] + text[section:].replace("device: cpu", "device: cuda:7", 1)
    (project.folder / "params.yaml").write_text(changed)
    done = project.stage(stage, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"{stage}.device = 'cuda:7': this machine has no such device (it has: cpu" in line


def test_a_missing_input_is_named(project):
    (project.folder / "models/vae.safetensors").unlink()
    done = project.stage("sample", check=False)
    assert (done.returncode, done.stderr) == (
        1, "error: models/vae.safetensors is missing; make it with: dvc repro\n",
    )  # fmt: skip


def imports(module: str) -> set[str]:
    """The project's files that a stage's file needs, as its text says."""
    found, pending = {"stages/__init__.py"}, [f"stages/{module}.py"]
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            names = re.findall(r"^\s*from stages\.(\w+) import", (ROOT / path).read_text(), re.M)
            pending += [f"stages/{name}.py" for name in names]
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_just_the_modules_that_it_imports(stage):
    definition = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]
    assert {path for path in definition["deps"] if path.endswith(".py")} == imports(stage)
    assert definition["desc"]


def test_the_committed_lock_is_that_of_the_committed_parameters_and_code():
    """dvc.lock, metrics/ and plots/ in the repository are the default parameters' own."""
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for stage in lock.values():
        for section, values in stage["params"]["params.yaml"].items():
            assert values == params[section]
        for dependency in stage["deps"]:
            if dependency["path"].endswith(".py"):
                content = (ROOT / dependency["path"]).read_bytes()
                assert hashlib.md5(content).hexdigest() == dependency["md5"], dependency["path"]


def test_make_works_without_git(reproduced, tmp_path):
    folder = tmp_path / "archive"
    unwanted = shutil.ignore_patterns(".git", "tmp")
    shutil.copytree(reproduced.folder, folder, ignore=unwanted)
    environment = tmp_path / "environment"  # this one, as if `make` had installed it
    environment.mkdir()
    for name in "bin", "lib", "pyvenv.cfg":
        (environment / name).symlink_to(Path(sys.prefix) / name)
    (environment / "installed").touch()
    project = Project(folder)
    done = project.run("make", "repro", f"VENV={environment}")
    assert "experiments (dvc exp) need Git" in done.stdout
    assert "up to date" in done.stdout
    project.run("git", "init", "-q")
    assert "need Git" not in project.run("make", "repro", f"VENV={environment}").stdout
