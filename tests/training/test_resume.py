"""Stopped training goes on, and ends with the bits of training that never stopped."""

import math
import shutil
import signal
import subprocess

import pytest
import torch

from tests.project import Project
from vae.training.loop import Diverged, check_finite, check_sense


def stop_training(project: Project, how: signal.Signals) -> int:
    """Starts the train stage, sends the signal after the first epoch; returns the exit code."""
    process = subprocess.Popen(
        ["python", "-m", "stages.train"], cwd=project.folder, env=project.env,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell's background jobs, CI's perhaps, are born deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert "epoch " in process.stdout.readline()
    process.send_signal(how)
    process.communicate()
    return process.returncode


@pytest.fixture
def long(project) -> Project:
    """A project whose training takes many short epochs, so that it can be stopped."""
    project.set("epochs: 3", "epochs: 25")
    return project


@pytest.mark.slow
def test_killed_at_random_moments_training_ends_with_the_same_bits(long):
    long.set("epochs: 25", "epochs: 100")
    long.stage("train")
    uninterrupted = long.outputs("train")
    for path in uninterrupted:
        (long.folder / path).unlink()
    done = long.run("python", "-m", "tests.kill_training", "20", "0")
    assert long.outputs("train") == uninterrupted
    for line in done.stdout.splitlines():
        finished, gone_on_from = map(int, line.split())
        assert gone_on_from >= finished  # no finished epoch is ever trained again
    assert not list((long.folder / ".checkpoints").iterdir())
    assert {path for path in uninterrupted if "epochs" in path} == {
        f"plots/epochs/{epoch}.png" for epoch in (20, 40, 60, 80, 100)
    }
    assert long.run("git", "status", "--porcelain").stdout.split() == [
        "M", "metrics/train.json", "M", "params.yaml", "M", "plots/training.csv",
    ]  # fmt: skip


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_stopped_training_fails_and_goes_on(long, how):
    assert stop_training(long, how) == -how
    done = long.stage("train")
    assert "going on after epoch" in done.stdout
    resumed = long.outputs("train")
    long.stage("train")
    assert long.outputs("train") == resumed


@pytest.mark.slow
def test_an_experiment_in_a_temporary_folder_goes_on(long):
    stop_training(long, signal.SIGKILL)
    long.run("git", "checkout", "-q", "plots", "metrics")
    assert "going on after epoch" in long.dvc("exp", "run", "--temp", "-n", "apart")
    long.dvc("exp", "apply", "apart")
    resumed = long.outputs("train")
    long.stage("train")
    assert long.outputs("train") == resumed


@pytest.mark.parametrize(
    ("old", "new"), [("learning_rate: 0.001", "learning_rate: 0.002"), ("seed: 0  ", "seed: 1  ")]
)
def test_a_checkpoint_of_other_parameters_is_not_used(long, old, new):
    stop_training(long, signal.SIGKILL)
    long.set(old, new)
    assert "going on" not in long.stage("train").stdout


def test_a_checkpoint_of_other_code_is_not_used(long):
    stop_training(long, signal.SIGKILL)
    long.set("PIXELS = 28 * 28", "PIXELS = 784", "vae/model/architecture.py")
    assert "going on" not in long.stage("train").stdout


@pytest.mark.parametrize("damage", ["not a checkpoint", "cut", "one bit"])
def test_a_damaged_checkpoint_is_ignored_with_a_line(long, damage):
    stop_training(long, signal.SIGKILL)
    (checkpoint,) = (long.folder / ".checkpoints").iterdir()
    content = checkpoint.read_bytes()
    middle = len(content) // 2
    checkpoint.write_bytes({
        "not a checkpoint": b"\x80\x04pickle",
        "cut": content[:middle],
        "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
    }[damage])  # fmt: skip
    done = long.stage("train")
    (line,) = done.stderr.splitlines()
    assert line.startswith("checkpoint ignored, training starts anew: ")
    assert "going on" not in done.stdout


@pytest.mark.parametrize(
    ("rate", "decay", "words", "advice"),
    [
        (
            "1000",
            "0",
            "diverged in epoch 1 at its end: reconstruction",
            "a smaller train.learning_rate, now 1000",
        ),
        ("0.5", "1000", "diverged in epoch 1", "now 0.5, or train.weight_decay, now 1000"),
    ],
)
def test_training_that_diverges_stops_and_says_where(stages, rate, decay, words, advice):
    before = stages.project.outputs("train")
    stages.project.set("learning_rate: 0.001", f"learning_rate: {rate}")
    stages.project.set("weight_decay: 0 ", f"weight_decay: {decay} ")
    stages.project.set("posterior: bounded", "posterior: gaussian")
    stages.project.set("epochs: 3", "epochs: 30")
    done = stages.run("train")
    assert done["code"] == 1
    first, second = done["stderr"].splitlines()
    assert words in first
    assert advice in second
    kept = stages.project.outputs("train")
    assert kept["models/vae.safetensors"] == before["models/vae.safetensors"]
    assert kept["metrics/train.json"] == before["metrics/train.json"]


def test_a_value_that_is_not_finite_is_found_with_its_step_and_the_last_that_was():
    terms = torch.stack([torch.full((100,), -90.0), torch.full((100,), 10.0)])
    check_finite(terms, 32)
    terms[1, 64:] = math.inf
    with pytest.raises(
        Diverged, match=r"at step 3: .* not finite \(last finite value: -100.0 nats"
    ):
        check_finite(terms, 32)


def test_a_model_worse_than_coin_flips_has_diverged():
    good, bad = torch.full((4,), -300.0), torch.full((4,), -6000.0)
    check_sense((good, good.abs()), 5.0)
    check_sense((good, bad.abs()), 0.0)  # a KL that is not trained may be large
    for at_rest in [(bad, good.abs()), (good, bad.abs()), (good * math.nan, good)]:
        with pytest.raises(Diverged, match="where a coin flip for each pixel has -543"):
            check_sense(at_rest, 1.0)


@pytest.mark.parametrize("obstacle", ["a file", "a folder in its place", "not readable"])
def test_a_checkpoint_is_a_help_and_never_a_condition(stages, obstacle):
    folder = stages.project.folder / ".checkpoints"
    before = stages.project.outputs("train")
    if obstacle == "a file":
        shutil.rmtree(folder, ignore_errors=True)
        folder.write_text("")
    else:
        assert stages.run("train", killed_at="plots/epochs/2.png")["code"] == -9
        (checkpoint,) = folder.iterdir()
        checkpoint.unlink()
        if obstacle == "not readable":
            checkpoint.symlink_to(checkpoint)
        else:
            checkpoint.mkdir()
            (checkpoint / "something").touch()
    (stages.project.folder / "plots/epochs/mine").mkdir()
    done = stages.run("train")
    assert done["code"] == 0, done
    assert "Traceback" not in done["stderr"]
    (stages.project.folder / "plots/epochs/mine").rmdir()
    assert stages.project.outputs("train") == before


def test_two_trainings_of_one_checkpoint_do_not_disturb_each_other(long):
    """Two queued experiments may differ only in how they evaluate."""
    command = ["python", "-m", "stages.train"]
    both = [
        subprocess.Popen(command, cwd=long.folder, env=long.env, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    outputs = long.outputs("train")
    long.stage("train")
    assert long.outputs("train") == outputs
    assert not list((long.folder / ".checkpoints").iterdir())
