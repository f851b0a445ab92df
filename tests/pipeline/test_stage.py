"""How a stage starts and ends under DVC."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.stage import alone
from tests.project import OUTPUTS, until


def test_a_refusal_says_how_to_go_back_and_that_works(project):
    before = {stage: project.outputs(stage) for stage in ("prepare", "train", "evaluate")}
    output = project.dvc("exp", "run", "-S", "model.latent_dim=0", check=False)
    assert "model.latent_dim = 0: should be greater than or equal to 1" in output
    (advice,) = [line for line in output.splitlines() if "To go back" in line]
    command = advice.split("): ")[1]
    project.run("sh", "-c", command)
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert {stage: project.outputs(stage) for stage in before} == before


def test_in_the_queues_copy_there_is_nothing_to_go_back_to(stages, tmp_path):
    stages.project.choose("model.latent_dim=0")
    of_dvc = {"DVC_STAGE": "train", "DVC_ROOT": str(stages.project.folder)}
    assert "To go back" in stages.run("train", **of_dvc)["stderr"]
    assert "To go back" not in stages.run("train", **of_dvc | {"DVC_ROOT": str(tmp_path)})["stderr"]


@pytest.mark.parametrize("stage", OUTPUTS)
def test_one_stage_of_a_name_runs_in_a_folder_at_a_time(stages, stage, monkeypatch):
    before = stages.project.outputs(stage)
    stages.project.choose(f"{stage}.seed=7")
    monkeypatch.chdir(stages.project.folder)
    with alone(stage):
        done = stages.run(stage)
    assert done["code"] == 1
    assert done["stderr"].splitlines() == [
        f"error: the stage {stage} already runs in this folder, as process {os.getpid()}.",
        f"Wait for its end, or stop it: kill {os.getpid()}",
    ]
    assert stages.project.outputs(stage) == before
    stages.succeed(stage)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say that a parent ended")
def test_a_stage_ends_with_the_dvc_that_started_it(project):
    project.choose("train.epochs=1000")
    log = project.folder / "plots/training.csv"
    dvc = subprocess.Popen(["dvc", "repro", "train"], cwd=project.folder, env=project.env)
    running = project.folder / ".dvc/tmp/train.running"
    log.unlink()  # once it is there again, the stage is at work
    until(log.exists)
    dvc.kill()
    stage = Path("/proc", running.read_text())
    until(lambda: not stage.exists())
