"""Stopped training goes on, and ends with the bits of training that never stopped."""

import random
import re
import signal
import subprocess

import pytest


@pytest.mark.slow
def test_killed_at_random_moments_training_ends_with_the_same_bits(stages):
    project, moments, finished = stages.project, random.Random(0), 0
    project.set("epochs: 3", "epochs: 100")
    stages.run("train")
    uninterrupted = project.outputs("train")
    for path in uninterrupted:
        (project.folder / path).unlink()
    for kill in range(21):
        seconds = moments.uniform(0.4, 0.9)
        bomb = (
            f"import os, threading; threading.Timer({seconds}, os.kill, (os.getpid(), 9)).start()"
        )
        done = stages.run("train", first=bomb if kill < 20 else "")
        if going_on := re.match(r"going on after epoch (\d+)", done["stdout"]):
            assert int(going_on[1]) >= finished  # no finished epoch is ever trained again
            finished = int(going_on[1])
        finished = max([finished, *map(int, re.findall(r"epoch +(\d+)/", done["stdout"]))])
        if done["code"] == 0:  # sooner on a fast machine
            break
        assert done["code"] == -signal.SIGKILL
    assert kill > 5
    assert project.outputs("train") == uninterrupted
    assert not list((project.folder / ".checkpoints").iterdir())
    assert {path for path in uninterrupted if "epochs" in path} == {
        f"plots/epochs/{epoch}.png" for epoch in (20, 40, 60, 80, 100)
    }


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_stopped_training_fails_and_goes_on_with_all_that_it_depends_on(stages, how):
    stages.project.choose(
        "model.prior=mixture model.posterior=flow train.kl_weight=1 train.keep=best "
        "train.weight_decay=0.1 train.schedule=one_cycle train.batch_size=32"
    )
    stages.succeed("train")
    uninterrupted = stages.project.outputs("train")
    assert stages.run("train", killed_at="plots/epochs/2.png", by=how)["code"] == -how
    assert "going on after epoch 2" in stages.succeed("train")
    assert stages.project.outputs("train") == uninterrupted


@pytest.mark.slow
def test_an_experiment_in_a_temporary_folder_goes_on(stages):
    project = stages.project
    project.set("epochs: 3", "epochs: 4")
    stages.run("train", killed_at="plots/epochs/2.png")
    project.run("git", "checkout", "-q", "plots", "metrics")
    assert "going on after epoch 2" in project.dvc("exp", "run", "--temp", "-n", "apart")
    project.dvc("exp", "apply", "apart")
    resumed = project.outputs("train")
    stages.succeed("train")
    assert project.outputs("train") == resumed


def test_a_checkpoint_of_other_parameters_is_not_used(stages):
    stages.run("train", killed_at="plots/epochs/2.png")
    stages.project.choose("train.seed=1")
    assert "going on" not in stages.succeed("train")


def test_training_that_diverges_stops_and_says_where(stages):
    before = stages.project.outputs("train")
    stages.project.choose(
        "train.learning_rate=0.5 train.weight_decay=1000 model.posterior=gaussian train.epochs=30"
    )
    first, second = stages.fail("train").splitlines()
    assert re.search("diverged in epoch 1 at step .* not finite .last finite value: ", first)
    assert second.endswith("train.learning_rate, now 0.5, or train.weight_decay, now 1000")
    kept = stages.project.outputs("train")
    assert kept["models/vae.safetensors"] == before["models/vae.safetensors"]
    assert kept["metrics/train.json"] == before["metrics/train.json"]


@pytest.mark.parametrize("obstacle", ["a file", "a folder in its place", "not readable", "damaged"])
def test_a_checkpoint_is_a_help_and_never_a_condition(stages, obstacle):
    folder = stages.project.folder / ".checkpoints"
    before = stages.project.outputs("train")
    stages.run("train", killed_at="plots/epochs/2.png")
    (checkpoint,) = folder.iterdir()
    content = checkpoint.read_bytes()
    checkpoint.unlink()
    if obstacle == "a file":
        folder.rmdir()
        folder.touch()
    elif obstacle == "not readable":
        checkpoint.symlink_to(checkpoint)
    elif obstacle == "damaged":
        checkpoint.write_bytes(content[:-9])
    else:
        checkpoint.mkdir()
    done = stages.run("train")
    assert done["code"] == 0
    if obstacle == "damaged":
        assert done["stderr"].startswith("checkpoint ignored, training starts anew: ")
    assert stages.project.outputs("train") == before


@pytest.mark.slow
def test_two_trainings_of_one_checkpoint_do_not_disturb_each_other(project, tmp_path):
    """Two queued experiments, each in a copy of its own, may differ only in how they evaluate."""
    before = project.outputs("train")
    copies = [project.copied(tmp_path / name) for name in ("one", "other")]
    both = [
        subprocess.Popen(
            ["python", "-m", "stages.train"], cwd=copy.folder, stderr=subprocess.PIPE, text=True,
            env=copy.env | {"DVC_ROOT": str(project.folder)},
        )
        for copy in copies
    ]  # fmt: skip
    for process, copy in zip(both, copies, strict=True):
        assert process.communicate()[1] == ""
        assert process.returncode == 0
        assert copy.outputs("train") == before
    assert not list((project.folder / ".checkpoints").iterdir())
