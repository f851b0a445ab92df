"""Training by several processes gives the bits of training by one."""

import os
import re
import signal
import subprocess
import time

import pytest
import torch
from torch import nn

from tests.models import params, prepared
from tests.project import Project
from vae.common.errors import Refusal, UserError
from vae.model import NETWORKS
from vae.model.architecture import PIXELS, Architecture
from vae.model.objectives import loss
from vae.training.loop import update
from vae.training.processes import Processes, check_count
from vae.training.run import Run

NETWORK = '''"""A network with a randomness of its own."""

from torch import nn


def dropping(a):
    encoder = nn.Sequential(nn.Linear(784, 64), nn.Dropout(0.5), nn.Linear(64, 2 * a.latent_dim))
    return encoder, nn.Linear(a.latent_dim, 784)
'''


@pytest.fixture
def dropping(project) -> Project:
    (project.folder / "vae/model/networks/dropping.py").write_text(NETWORK)
    line = '"mlp": "vae.model.networks.mlp:mlp",'
    added = f'{line} "dropping": "vae.model.networks.dropping:dropping",'
    project.set(line, added, "vae/model/__init__.py")
    project.set("network: mlp", "network: dropping")
    project.set("shards: 1 ", "shards: 4 ")
    project.set("epochs: 3", "epochs: 12")
    return project


def children(process: int) -> list[int]:
    listed = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True)
    return [int(line) for line in listed.stdout.split()]


def killed(project: Project, processes: int, whom: str) -> str:
    """Kills the last process, or the launcher, after an epoch. Returns what was printed."""
    training = subprocess.Popen(
        ["python", "-m", "stages.train"], cwd=project.folder, text=True,
        env=project.env | {"TORCHRUN": f"--nproc-per-node={processes}"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert "epoch " in training.stdout.readline()
    its = children(training.pid)
    assert len(its) == processes
    os.kill(its[-1] if whom == "a process" else training.pid, signal.SIGKILL)
    said = training.communicate()[1]
    assert training.returncode == (1 if whom == "a process" else -signal.SIGKILL)
    for _ in range(100):
        if not any(os.path.exists(f"/proc/{process}") for process in its):
            return said
        time.sleep(0.1)
    pytest.fail("a process lives on")


@pytest.mark.slow
def test_one_two_and_four_processes_train_to_the_same_bytes_whatever_is_killed(dropping):
    dropping.stage("train")
    alone = dropping.outputs("train")
    said = killed(dropping, 4, "a process")
    assert re.fullmatch(
        r"error: process \d of training was killed \(SIGKILL\), and the others were stopped.\n"
        r"Go on from the last epoch that was done: dvc repro\n", said,
    )  # fmt: skip
    assert killed(dropping, 2, "the launcher") == ""
    done = dropping.stage("train", TORCHRUN="--nproc-per-node=2")
    assert "going on after epoch" in done.stdout
    assert done.stdout.count("epoch 12/12") == 1
    assert done.stderr == ""
    assert dropping.outputs("train") == alone


def test_a_process_that_fails_says_so_once(project):
    project.set("shards: 1 ", "shards: 2 ")
    project.set("learning_rate: 0.001", "learning_rate: 1000")
    done = project.stage("train", check=False, TORCHRUN="--nproc-per-node=2")
    assert done.returncode == 1
    assert done.stderr.startswith("error: training diverged in epoch 1 ")
    assert done.stderr.count("\n") == 2


def test_options_that_torchrun_does_not_know_are_refused(project):
    done = project.stage("train", check=False, TORCHRUN="--nproc=2 --fast")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: TORCHRUN = '--nproc=2 --fast': not options of torchrun (")


@pytest.mark.parametrize("model", [{}, {"network": "conv", "prior": "mixture"}])
@pytest.mark.parametrize("rows", [32, 30, 2])  # the last has fewer than there are shards
def test_the_gradient_of_the_shards_is_that_of_the_batch(model, rows):
    images, noise = prepared(32), torch.randn(1, rows, 3)
    whole = Run.new(params(model, shards=1), images)
    split = Run.new(params(model, shards=4), images)
    x = images.pixels[:rows].float()
    value, *terms = loss(whole.model, x, noise, 5.0, "reparameterized")
    value.backward()
    torch.testing.assert_close(update(split, x, noise, 0.0), tuple(terms))
    gradients = [[p.grad for p in run.model.parameters()] for run in (whole, split)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)
    for parameter in split.model.parameters():  # the optimizer goes through both by address
        assert parameter.grad.stride() == parameter.stride()


def test_parts_are_added_in_one_order_for_any_number_of_processes(monkeypatch):
    parts = list(torch.randn(8, 1000) * torch.logspace(-3, 3, 8)[:, None])
    alone = Processes().tree_sum([part.clone() for part in parts])
    assert not torch.equal(alone, torch.stack(parts).sum(0))  # another order has other bits
    gathered = "vae.training.processes.distributed.all_gather_single"
    monkeypatch.setattr(gathered, lambda out, mine: out.copy_(torch.stack(parts)))
    for count in 2, 4, 8:
        mine = [parts[shard].clone() for shard, _ in Processes(count, 1).parts(800, 8)]
        assert torch.equal(Processes(count, 1).tree_sum(mine), alone)


def test_every_image_is_in_one_shard_of_one_process():
    for rows in 7, 64, 66:
        shared = [part for rank in range(2) for part in Processes(2, rank).parts(rows, 6)]
        assert [shard for shard, _ in shared] == list(range(6))
        assert [row for _, part in shared for row in range(rows)[part]] == list(range(rows))


def test_processes_without_a_fair_share_of_the_shards_are_refused():
    check_count(2, 4)
    for count, shards in (3, 4), (8, 4), (2, 1):
        with pytest.raises(Refusal, match=f"starts {count} processes, and train.shards = {shards}"):
            check_count(count, shards)
    with pytest.raises(ValueError, match=r"batch_size = 32 with train.shards = 5"):
        params(shards=5)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    for name in "cuda", "auto":
        assert Processes(2, 1).device(name) == "cuda:1"
    assert Processes(2, 1).device("cpu") == "cpu"
    assert Processes(1, 0).device("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(Refusal, match="starts 3 processes on a machine with 2 GPUs"):
        Processes(3, 1).device("cuda")


def averaging(a: Architecture) -> tuple[nn.Module, nn.Module]:
    encoder = nn.Sequential(nn.Linear(PIXELS, 2 * a.latent_dim), nn.BatchNorm1d(2 * a.latent_dim))
    return encoder, nn.Linear(a.latent_dim, PIXELS)


def test_averages_of_whole_batches_are_refused(monkeypatch):
    monkeypatch.setitem(NETWORKS, "averaging", f"{__name__}:averaging")
    Run.new(params({"network": "averaging"}), prepared(4))
    with pytest.raises(UserError, match=r"set train.shards to 1"):
        Run.new(params({"network": "averaging"}, shards=2), prepared(4))
