"""The pipeline as its users run it: real commands, in a clone, on small data."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from pipeline.stage import start
from tests.project import TEST_IMAGES, TRAIN_IMAGES
from vae.errors import Refusal
from vae.images import load_images


def stages_run(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


def test_outputs_are_those_of_the_contract(reproduced):
    for name, count in ("train", TRAIN_IMAGES - 40), ("validation", 40), ("test", TEST_IMAGES):
        images = load_images(reproduced.folder / f"data/{name}.safetensors")
        assert (len(images.pixels), len(images.labels)) == (count, count)
        assert images.kind == "MNIST of 1×28×28, binarized: threshold 128"
    train = json.loads(reproduced.read("metrics/train.json"))
    assert train["epochs"] == 3
    test = json.loads(reproduced.read("metrics/test.json"))
    assert test.keys() >= {
        "elbo", "elbo_stderr", "reconstruction", "kl", "log_likelihood", "log_likelihood_stderr",
        "importance_samples", "log_likelihood_spread", "effective_samples", "bits_per_dimension",
        "active_units", "dataset", "binarization",
    }  # fmt: skip
    splits = reproduced.table("plots/splits.csv")
    assert [row["split"] for row in splits] == ["train", "validation", "test"]
    bounds = reproduced.table("plots/bounds.csv")
    assert [row["k"] for row in bounds] == ["1", "8"]
    assert float(bounds[1]["bound"]) == test["log_likelihood"]
    assert float(bounds[1]["spread"]) == test["log_likelihood_spread"]
    units = reproduced.table("plots/units.csv")
    assert sum(float(row["kl"]) for row in units) == pytest.approx(test["kl"], abs=2e-3)
    assert sum(float(row["variance_of_mean"]) > 0.01 for row in units) == test["active_units"]
    for name in "elbo", "kl", "log_likelihood":
        assert float(splits[2][name]) == test[name]
    for part in train["train"], train["validation"], test:
        assert part["elbo"] == pytest.approx(part["reconstruction"] - part["kl"], abs=2e-4)
    assert test["elbo"] < test["log_likelihood"]
    epochs = reproduced.table("plots/training.csv")
    assert [row["epoch"] for row in epochs] == ["1", "2", "3"]
    assert float(epochs[0]["validation_elbo"]) < float(epochs[2]["validation_elbo"])


def test_a_change_reruns_the_stages_that_depend_on_it_and_no_others(project):
    for name in "vae/model/.DS_Store", "vae/model/networks/notes.txt", "datasets/.mnist.py.swp":
        (project.folder / name).write_text("no code")
    project.set("columns: 4", "columns: 8")
    assert stages_run(project.dvc("repro")) == ["sample"]
    project.set("import torch\n", "import torch  # a comment\n", "vae/training/loop.py")
    assert stages_run(project.dvc("repro", "--dry")) == ["train"]  # and what depends on its outputs


def test_a_model_is_not_measured_on_other_data(stages):
    before = stages.project.outputs("evaluate")
    stages.project.choose("prepare.dataset=fashion_mnist prepare.binarization=stochastic")
    stages.succeed("prepare")
    assert stages.fail("evaluate").startswith(
        "error: data/train.safetensors is FashionMNIST of 1×28×28, binarized: stochastic; the "
        "model was trained on MNIST of 1×28×28, binarized: threshold 128.\n"
    )
    assert stages.project.outputs("evaluate") == before


COMBINATIONS = [
    "model.network=conv model.channels=4 model.prior=mixture train.gradient=stl "
    "train.numerics=native train.precision=bfloat16 evaluate.numerics=native "
    "evaluate.precision=bfloat16 evaluate.proposal_steps=3 model.posterior=flow",
    "model.network=levels model.channels=4 model.groups=[1,1] model.latent_dim=248 "
    "model.posterior=ladder train.objective=free_groups train.grids=0",
]


@pytest.mark.parametrize("settings", COMBINATIONS)
def test_what_the_fuzzer_of_models_does_not_try_goes_through_the_stages(stages, settings):
    stages.project.choose(f"train.kl_weight=1 {settings}")
    measured = stages.measure(["train", "evaluate", "sample"])
    assert measured["elbo"] < measured["log_likelihood"] < 0
    epochs = stages.project.folder / "plots/epochs"
    assert any(epochs.iterdir()) == ("grids=0" not in settings)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(Refusal, match=r"^train\.device = 'cuda:7': .* has no .*\(it has: cpu"):
        start("cuda:7", "train.device")


@pytest.fixture
def make(project, tmp_path):
    """Makes something in the project, with this environment as if `make` had installed it."""
    environment = tmp_path / "environment"
    environment.mkdir()
    for name in "bin", "lib", "pyvenv.cfg":
        (environment / name).symlink_to(Path(sys.prefix) / name)
    (environment / "installed").touch()
    return lambda target: project.run("make", target, f"VENV={environment}").stdout


def test_make_works_without_git(project, make):
    shutil.rmtree(project.folder / ".git")
    said = make("repro")
    assert "experiments (dvc exp) need Git" in said
    assert "up to date" in said
    result = json.loads(project.read("metrics/test.json"))
    assert f"ELBO {result['elbo']:.2f} ± {result['elbo_stderr']:.2f} nats" in said
    assert f"≥ {result['log_likelihood']:.2f}" in said


def test_make_finds_the_larger_repository_that_the_project_is_a_folder_of(project, make):
    project.move_into_a_larger_repository()
    assert make("with-or-without-git") == ""
    project.dvc("exp", "save", "-n", "here")
    assert "here" in project.dvc("exp", "show", "--csv")


def test_a_conditional_model_goes_through_all_stages_and_says_so(stages):
    stages.project.choose("model.conditional=true train.kl_weight=1 train.shards=2")
    stages.succeed("train", "sample")
    assert "log p(x|y) ≥" in stages.succeed("evaluate")
    assert json.loads(stages.project.read("metrics/test.json"))["conditional"]
