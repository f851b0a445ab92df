"""Training that was stopped goes on, and ends with the bits of training that was not."""

import signal
import subprocess
import time

import pytest

from tests.conftest import Project


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


def test_dvc_goes_on_in_place_and_in_a_temporary_folder(long):
    stop_training(long, signal.SIGKILL)
    long.run("git", "checkout", "-q", "plots", "metrics")
    assert "going on after epoch" in long.dvc("exp", "run", "--temp", "-n", "apart")
    long.dvc("exp", "apply", "apart")
    resumed = long.outputs("train")
    long.stage("train")
    assert long.outputs("train") == resumed

    long.set("learning_rate: 0.001", "learning_rate: 0.002")
    stop_training(long, signal.SIGKILL)
    assert "going on after epoch" in long.dvc("repro")


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


def test_training_that_diverges_stops_at_once_and_says_where(project):
    before = project.outputs("train")
    project.set("learning_rate: 0.001", "learning_rate: 1e30")
    began = time.monotonic()
    done = project.stage("train", check=False)
    assert time.monotonic() - began < 20
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert "training diverged in epoch 1 at step 2: the ELBO is not finite" in first
    assert "Try a smaller train.learning_rate, now 1e+30" in second
    assert project.outputs("train") == before
