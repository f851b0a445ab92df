"""One or two lines name a fault, nothing is lost, and the next run recovers.

Each test injects one fault. It checks the message, the exit code, that the outputs stay as they
were, and the run after the fault is gone.
"""

import os
import pickle

import pytest
import torch
from safetensors.torch import save

from vae.files import load_tensors

METRICS = "metrics/test.json"


@pytest.mark.parametrize(
    ("stage", "room", "named"),
    [
        ("prepare", 10_000, "data/train.safetensors"),
        ("train", 100_000, "models/vae.safetensors"),
        ("evaluate", 2_000, "plots/reconstructions.png"),
        ("sample", 2_000, "plots/samples.png"),
    ],
)
def test_a_full_disk_is_named_and_nothing_is_lost(stages, stage, room, named):
    before = stages.project.outputs(stage)
    done = stages.run(stage, largest_file=room)
    warnings, _, said = done["stderr"].rpartition("error: ")
    assert warnings.count("no checkpoint this time: cannot write") == 3 * (stage == "train")
    assert done["code"] == 1
    assert said.count("\n") == 2
    assert said.startswith(f"cannot write {named}: File too large.\nMake room")
    assert stages.project.outputs(stage) == before
    assert not list(stages.project.folder.glob("*/.*.partial"))
    assert stages.run(stage)["code"] == 0
    assert stages.project.outputs(stage) == before


def test_metrics_stay_if_a_picture_cannot_be_written(stages):
    path, before = stages.project.folder / "plots/traversals.png", stages.project.read(METRICS)
    path.unlink()
    path.mkdir()
    stages.project.choose("evaluate.seed=1")
    assert "cannot write plots/traversals.png: Is a directory" in stages.fail("evaluate")
    assert stages.project.read(METRICS) == before
    path.rmdir()
    stages.succeed("evaluate")
    assert stages.project.read(METRICS) != before


def test_a_folder_that_cannot_be_written_is_named(stages):
    before = stages.project.outputs("sample")
    path = stages.project.folder / "plots"
    path.chmod(0o555)
    said = stages.fail("sample")
    path.chmod(0o755)
    assert "Permission denied.\nMake room, or make plots/ a folder that" in said
    assert stages.project.outputs("sample") == before


class Malicious:
    def __reduce__(self):
        return os.system, ("touch executed",)


def test_a_damaged_input_is_named(stages):
    before = stages.project.outputs("evaluate")
    path = stages.project.folder / "models/vae.safetensors"
    tensors, metadata = load_tensors(path)
    smaller = {"architecture": metadata["architecture"].replace("512", "511")}
    broken = {name: tensor * float("nan") for name, tensor in tensors.items()}
    for content, words in [
        (None, "is missing; make it with: dvc repro"),
        (pickle.dumps(Malicious()), "is damaged or not a safetensors file"),
        (path.read_bytes()[:1000], "is damaged or not a safetensors file"),
        (save({"weights": torch.zeros(1)}, metadata), "does not hold a VAE of this project"),
        (save(tensors, metadata | smaller), "does not hold a VAE of this project"),
        (save(broken, metadata), "some of its weights are not finite"),
    ]:
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        said = stages.fail("evaluate")
        assert said.startswith("error: models/vae.safetensors ")
        assert words in said
        assert "dvc repro" in said
        path.touch()
    assert not (stages.project.folder / "executed").exists()
    assert stages.project.outputs("evaluate") == before


def test_more_memory_than_there_is(stages):
    stages.project.set("hidden_dims: [512, 64]", "hidden_dims: [1, 1000000, 1000000]")
    before = stages.project.outputs("train")
    assert stages.fail("train").startswith("error: not enough memory (")
    assert stages.project.outputs("train") == before
