"""Files that are edited while a stage runs are not recorded as its inputs."""

import subprocess

import pytest

from pipeline.inputs import Inputs
from vae.errors import UserError


def test_parameters_edited_while_training_runs_are_not_recorded(project):
    project.set("epochs: 3", "epochs: 15")
    process = subprocess.Popen(
        ["dvc", "repro", "train"], cwd=project.folder, env=project.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert any(line.startswith("epoch") for line in process.stdout)  # and no further
    project.set("learning_rate: 0.001", "learning_rate: 0.002")
    output = process.communicate()[0]
    assert process.returncode != 0
    assert "error: train.learning_rate changed while the stage train ran" in output
    assert "Nothing was recorded. Run it again: dvc repro" in output
    assert "learning_rate: 0.002" not in project.read("dvc.lock").decode()
    project.set("learning_rate: 0.002", "learning_rate: 0.001")
    assert "going on after epoch 15 of 15" in project.dvc("repro", "train")  # nothing is lost


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("prepare", "vae/images.py"),
        ("prepare", "data/pictures/new.png"),
        ("train", "vae/model/networks/mlp.py"),
        ("evaluate", "data/test.safetensors"),
        ("sample", "models/vae.safetensors"),
    ],
)
def test_every_change_of_a_dependency_is_seen(project, monkeypatch, stage, file):
    monkeypatch.chdir(project.folder)
    inputs = Inputs(stage)
    inputs.check()
    with open(file, "ab") as content:
        content.write(b"\n")
    with pytest.raises(UserError, match=f"^{file} changed while the stage {stage} ran"):
        inputs.check()
    inputs = Inputs(stage)
    (project.folder / file).unlink()
    with pytest.raises(UserError, match=f"^{file} changed"):
        inputs.check()
