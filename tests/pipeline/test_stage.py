"""How a stage starts and ends under DVC."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.stage import alone, run
from tests.project import until


def test_a_refusal_says_how_to_go_back_and_that_works(project):
    before = {stage: project.outputs(stage) for stage in ("prepare", "train", "evaluate")}
    output = project.dvc("exp", "run", "-S", "model.latent_dim=0", check=False)
    assert "model.latent_dim = 0: should be greater than or equal to 1" in output
    (advice,) = [line for line in output.splitlines() if "To go back" in line]
    command = advice.split("): ")[1]
    project.run("sh", "-c", command)
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert {stage: project.outputs(stage) for stage in before} == before


def test_arguments_are_refused_rather_than_ignored(stages):
    said = stages.fail("sample", first="import sys; sys.argv.append('sample.seed=7')")
    assert said.startswith("error: sample.seed=7: a stage takes no arguments; edit params.yaml, ")


def test_in_the_queues_copy_there_is_nothing_to_go_back_to(stages, tmp_path):
    stages.project.choose("model.latent_dim=0")
    of_dvc = {"DVC_STAGE": "train", "DVC_ROOT": str(stages.project.folder)}
    assert "To go back" in stages.run("train", **of_dvc)["stderr"]
    assert "To go back" not in stages.run("train", **of_dvc | {"DVC_ROOT": str(tmp_path)})["stderr"]


def test_one_stage_of_a_name_runs_in_a_folder_at_a_time(stages, monkeypatch):
    before = stages.project.outputs("sample")
    stages.project.choose("sample.seed=7")
    monkeypatch.chdir(stages.project.folder)
    with alone("sample"):
        said = stages.fail("sample")
    assert f" already runs in this folder, as process {os.getpid()}.\nWait for its end" in said
    assert stages.project.outputs("sample") == before
    stages.succeed("sample")


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
    until(lambda: not stage.exists(), seconds=10)  # all epochs would take a minute or two


def test_code_that_git_does_not_know_is_named_with_what_to_do(project):
    """DVC's queue works in a copy that has only what Git knows."""
    line = '"mlp": "vae.model.networks.mlp:MLP",'
    project.set(line, f'{line} "new": "vae.model.networks.new:New",', "vae/model/__init__.py")
    done = project.stage("train", check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: there is no module vae.model.networks.new in {project.folder}.",
        "If its file is new, run git add: DVC's queue has only what Git knows",
    ]


def test_an_address_space_too_small_for_torch_is_named(project):
    done = project.run("sh", "-c", "ulimit -v 1000000; python -m stages.sample", check=False)
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("error: Python cannot load torch (")
    assert second == "Give it more memory (ulimit -v), or delete .venv and run: make repro"


def test_an_operation_that_a_gpu_cannot_repeat_to_the_bit_is_named(monkeypatch, request):
    request.addfinalizer(lambda: torch.set_deterministic_debug_mode("default"))
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # `run` replaces both
    monkeypatch.setattr(sys, "stderr", sys.stderr)

    def main() -> None:
        torch.set_deterministic_debug_mode("error")  # as on a GPU; this has no such kernel anywhere
        torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))

    with pytest.raises(SystemExit, match=r"^error: put_ does not have a deterministic impl.*\nSet"):
        run(main)
