"""Training by several processes gives the bits of training by one."""

import os
import re
import signal
import subprocess

import pytest
import torch

from tests.models import new_run, prepared
from tests.project import Project, until
from vae.errors import Refusal, UserError
from vae.model import NETWORKS
from vae.training.shards import ALONE, Processes, check_count, own_device


@pytest.fixture
def dropping(project) -> Project:
    line = '"mlp": "vae.model.networks.mlp:MLP",'
    added = f'{line} "dropping": "tests.training.networks:Dropping",'
    project.set(line, added, "vae/model/__init__.py")
    project.set("network: mlp", "network: dropping")
    project.set("shards: 1 ", "shards: 4 ")
    project.set("epochs: 3", "epochs: 12")
    return project


def killed(project: Project, processes: int, whom: str) -> str:
    """Kills the last process, or the launcher, after an epoch. Returns what was printed."""
    training = subprocess.Popen(
        ["python", "-m", "stages.train"], cwd=project.folder, text=True,
        env=project.env | {"TORCHRUN": f"--nproc-per-node={processes}"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert "epoch " in training.stdout.readline()
    listed = subprocess.run(["pgrep", "-P", str(training.pid)], capture_output=True, text=True)
    its = [int(line) for line in listed.stdout.split()]
    assert len(its) == processes
    os.kill(its[-1] if whom == "a process" else training.pid, signal.SIGKILL)
    said = training.communicate()[1]
    assert training.returncode == (1 if whom == "a process" else -signal.SIGKILL)
    until(lambda: not any(os.path.exists(f"/proc/{process}") for process in its), seconds=10)
    return said


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "processes", "words"),
    [
        ("train.shards=2 train.learning_rate=1000", 2, "training diverged in epoch 1 "),
        ("train.device=cuda:99", 1, "train.device = 'cuda:99': this machine has no such device ("),
    ],
)
def test_a_process_that_fails_says_so_once(project, changes, processes, words):
    project.choose(changes)
    done = project.stage("train", check=False, TORCHRUN=f"--nproc-per-node={processes}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {words}")
    assert done.stderr.count("\n") <= 2


def test_options_that_torchrun_does_not_know_are_refused(stages):
    said = stages.fail("train", TORCHRUN="--nproc=2 --fast")
    assert "TORCHRUN = '--nproc=2 --fast': not options of torchrun (" in said


@pytest.mark.parametrize(
    ("model", "rows", "draws"),
    [
        ({}, 32, 1),
        ({"network": "conv", "prior": "mixture"}, 30, 3),
        ({"posterior": "flow", "likelihood": "logistic"}, 2, 3),  # rows for half of the shards
    ],
)
def test_shards_have_the_terms_and_the_gradient_of_the_batch(model, rows, draws):
    images = prepared(32, levels=256 if "likelihood" in model else 2)
    pixels, noise, progress = images.pixels[:rows], torch.randn(draws, rows, 3), torch.tensor(0.5)
    whole, split = (new_run(images, model, shards=s, importance_samples=draws) for s in (1, 4))
    terms = [run.step(pixels, noise, 0.0, progress) for run in (whole, split)]
    torch.testing.assert_close(*terms)
    gradients = [[p.grad for p in run.model.parameters()] for run in (whole, split)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)
    for parameter in split.model.parameters():  # the optimizer goes through both by address
        assert parameter.grad.stride() == parameter.stride()


def test_parts_are_added_in_one_order_for_any_number_of_processes(monkeypatch):
    terms = list(torch.randn(8, 1000) * torch.logspace(-3, 3, 8)[:, None])
    alone = ALONE.tree_sum([term.clone() for term in terms])
    torch.testing.assert_close(alone, torch.stack(terms).sum(0))
    assert not torch.equal(alone, torch.stack(terms).sum(0))  # another order has other bits
    gathered = "vae.training.shards.distributed.all_gather_single"
    monkeypatch.setattr(gathered, lambda out, mine: out.copy_(torch.stack(terms)))
    for count in 2, 4, 8:
        mine = [terms[shard].clone() for shard in Processes(count, 1).mine(8)]
        assert torch.equal(Processes(count, 1).tree_sum(mine), alone)


def test_processes_without_a_fair_share_of_the_shards_are_refused():
    check_count(2, 4)
    for count, shards in (3, 4), (8, 4), (2, 1):
        with pytest.raises(Refusal, match=f"starts {count} processes, and train.shards = {shards}"):
            check_count(count, shards)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_device("auto") == "auto"  # without a GPU
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for name in "cuda", "auto":
        assert own_device(name) == "cuda:1"
    assert own_device("cpu") == "cpu"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(Refusal, match="starts 3 processes on a machine with 2 GPUs"):
        own_device("cuda")
    with pytest.raises(Refusal, match=r"'cuda:1' with TORCHRUN = .*; set train.device to cuda"):
        own_device("cuda:1")


def test_averages_of_whole_batches_are_refused(monkeypatch):
    monkeypatch.setitem(NETWORKS, "averaging", "tests.training.networks:Averaging")
    new_run(prepared(4), {"network": "averaging"})
    with pytest.raises(UserError, match=r"set train.shards to 1"):
        new_run(prepared(4), {"network": "averaging"}, shards=2)
