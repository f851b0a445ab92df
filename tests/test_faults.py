"""One or two lines name a fault, nothing is lost, and the next run recovers.

Each test injects one fault. It checks the message, the exit code, that the outputs stay as they
were, and the run after the fault is gone.
"""

import os
import pickle

import pytest
from safetensors.torch import save_file

from tests.project import Project
from vae.files import load_tensors


def assert_fails(done: dict, message: str, lines: int = 2) -> None:
    assert done["code"] == 1, done
    assert message in done["stderr"]
    assert "Traceback" not in done["stderr"]
    assert done["stderr"].count("\n") <= lines, done["stderr"]
    assert "error: " in done["stderr"]


# The disk


@pytest.mark.parametrize(
    ("stage", "room", "named"),
    [
        ("prepare", 10_000, "data/train.safetensors"),
        ("train", 100_000, "models/vae.safetensors"),
        ("evaluate", 10, "plots/splits.csv"),
        ("evaluate", 2_000, "plots/reconstructions.png"),
        ("sample", 2_000, "plots/samples.png"),
    ],
)
def test_a_full_disk_is_named_and_nothing_is_lost(stages, stage, room, named):
    before = stages.project.outputs(stage)
    done = stages.run(stage, largest_file=room)
    warnings = done["stderr"].count("no checkpoint this time: cannot write")
    assert warnings == (3 if stage == "train" else 0)
    assert_fails(done, f"error: cannot write {named}: File too large.\nMake room", 2 + warnings)
    assert stages.project.outputs(stage) == before
    assert not list(stages.project.folder.glob("*/.*.partial"))
    assert stages.run(stage)["code"] == 0
    assert stages.project.outputs(stage) == before


@pytest.mark.parametrize(
    ("stage", "folder"),
    [("prepare", "data"), ("train", "models"), ("evaluate", "metrics"), ("sample", "plots")],
)
def test_a_folder_that_cannot_be_written_is_named(stages, stage, folder):
    before = stages.project.outputs(stage)
    path = stages.project.folder / folder
    path.chmod(0o555)
    done = stages.run(stage)
    path.chmod(0o755)
    assert_fails(done, f"error: cannot write {folder}/", lines=5)  # and each checkpoint
    assert f"Permission denied.\nMake room, or make {folder}/ a folder that" in done["stderr"]
    assert stages.project.outputs(stage) == before


# The inputs


class Malicious:
    def __reduce__(self):
        return os.system, ("touch executed",)


def damage(project: Project, path: str, how: str) -> None:
    file = project.folder / path
    tensors, metadata = load_tensors(file)
    content = file.read_bytes()
    file.unlink()
    if how == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif how == "pickle":
        file.write_bytes(pickle.dumps(Malicious()))
    elif how == "other tensors":
        save_file({"weights": tensors.popitem()[1]}, file, {"dataset": "MNIST"})
    elif how == "other architecture":
        metadata["architecture"] = metadata["architecture"].replace("512", "511")
        save_file(tensors, file, metadata)
    elif how == "not finite":
        next(iter(tensors.values())).view(-1)[0] = float("nan")
        save_file(tensors, file, metadata)


TRAIN, TEST, MODEL = "data/train.safetensors", "data/test.safetensors", "models/vae.safetensors"


@pytest.mark.parametrize(
    ("stage", "path", "how", "words"),
    [
        ("train", TRAIN, "missing", "is missing; make it with: dvc repro"),
        ("evaluate", TEST, "other tensors", "does not hold images and labels"),
        ("evaluate", MODEL, "cut", "is damaged or not a safetensors file"),
        ("evaluate", MODEL, "other architecture", "does not hold a VAE of this project"),
        ("evaluate", MODEL, "not finite", "some of its weights are not finite"),
        ("sample", MODEL, "pickle", "is damaged or not a safetensors file"),
    ],
)
def test_a_damaged_input_is_named(stages, stage, path, how, words):
    before = stages.project.outputs(stage)
    damage(stages.project, path, how)
    done = stages.run(stage)
    assert_fails(done, f"error: {path} ")
    assert words in done["stderr"]
    assert "dvc repro" in done["stderr"]
    assert not (stages.project.folder / "executed").exists()
    assert stages.project.outputs(stage) == before


def test_more_memory_than_there_is(stages):
    stages.project.set("hidden_dims: [512, 64]", "hidden_dims: [1, 1000000, 1000000]")
    before = stages.project.outputs("train")
    assert_fails(stages.run("train"), "error: not enough memory (")
    assert stages.project.outputs("train") == before
