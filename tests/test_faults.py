"""One or two lines name a fault, nothing is lost, and the next run recovers.

Each test injects one fault. It checks the message, the exit code, that the outputs stay as they
were, and the run after the fault is gone.
"""

import json
import os
import pickle
import shutil

import pytest
from safetensors.torch import load_file, save_file

from tests.project import Project
from vae.common.files import load_tensors

IMAGES = "train-images-idx3-ubyte.gz"


def assert_fails(done: dict, message: str, lines: int = 2) -> None:
    assert done["code"] == 1, done
    assert message in done["stderr"]
    assert "Traceback" not in done["stderr"]
    assert done["stderr"].count("\n") <= lines, done["stderr"]
    assert "error: " in done["stderr"]


# The source of the data


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("HTML page", "not a whole gzip file"),
        ("down", "Connection refused"),
    ],
)
def test_a_mirror_that_fails(stages, server, tmp_path, fault, reason):
    good = dict(server.files)
    url = server.url
    if fault == "HTML page":
        server.files[IMAGES] = b"<html>Log in to the network</html>"
    else:
        url = "http://127.0.0.1:1"
    params = stages.project.read("params.yaml").decode()
    mirror = next(line for line in params.splitlines() if "mirror:" in line)
    stages.project.set(mirror, f"  mirror: {url}")
    cache = {"XDG_CACHE_HOME": str(tmp_path / "empty")}
    before = stages.project.outputs("prepare")

    done = stages.run("prepare", **cache)
    assert_fails(done, f"MNIST from {url}: ", lines=8)  # a line for each source
    assert reason in done["stderr"]
    last = done["stderr"].splitlines()[-2:]
    assert last[0].startswith("error: no source has MNIST. Put the four files")
    assert "or set prepare.mirror" in last[1]
    assert stages.project.outputs("prepare") == before

    server.files = good
    stages.project.set(url, server.url)
    assert stages.run("prepare", **cache)["code"] == 0
    assert stages.project.outputs("prepare") == before


# The disk


@pytest.mark.parametrize(
    ("stage", "room", "named"),
    [
        ("prepare", 10_000, "data/train.safetensors"),
        ("train", 100_000, "models/vae.safetensors"),
        ("train", 10, "plots/training.csv"),
        ("evaluate", 10, "plots/splits.csv"),
        ("evaluate", 2_000, "plots/reconstructions.png"),
        ("sample", 2_000, "plots/samples.png"),
    ],
)
def test_a_full_disk_is_named_and_nothing_is_lost(stages, stage, room, named):
    before = stages.project.outputs(stage)
    done = stages.run(stage, largest_file=room)
    warnings = done["stderr"].count("no checkpoint this time: cannot write")
    assert warnings == (0 if stage != "train" else 3 if room > 10 else 1)
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
    command = ["python", "-m", f"stages.{stage}"]
    if os.geteuid() == 0:  # root may write everywhere, unless that power is taken away
        if not shutil.which("setpriv"):
            pytest.skip("run by root, and setpriv is not installed")
        command = ["setpriv", "--bounding-set", "-dac_override", *command]
    path.chmod(0o555)
    done = stages.project.run(*command, check=False)
    path.chmod(0o755)
    assert done.returncode == 1
    assert f"error: cannot write {folder}/" in done.stderr
    assert f"Permission denied.\nMake room, or make {folder}/ a folder that can be" in done.stderr
    assert "Traceback" not in done.stderr
    assert stages.project.outputs(stage) == before
    assert stages.run(stage)["code"] == 0
    assert stages.project.outputs(stage) == before


# The inputs


class Malicious:
    def __reduce__(self):
        return os.system, ("touch executed",)


def damage(project: Project, path: str, how: str) -> None:
    file = project.folder / path
    content = file.read_bytes()
    if how == "missing":
        file.unlink()
    elif how == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "pickle":
        file.write_bytes(pickle.dumps(Malicious()))
    elif how == "other tensors":
        save_file({"weights": load_file(file).popitem()[1]}, file, {"dataset": "MNIST"})
    elif how == "other architecture":
        architecture = {"hidden_dims": [512, 32], "latent_dim": 12, "posterior": "bounded"}
        save_file(
            load_file(file), file, {"architecture": json.dumps(architecture), "binarization": ""}
        )
    elif how == "not finite":
        tensors, metadata = load_tensors(file)
        tensors["decoder.0.weight"][0, 0] = float("nan")
        save_file(tensors, file, metadata)


TRAIN, TEST, MODEL = "data/train.safetensors", "data/test.safetensors", "models/vae.safetensors"


@pytest.mark.parametrize(
    ("stage", "path", "how", "words"),
    [
        ("train", TRAIN, "missing", "is missing; make it with: dvc repro"),
        ("train", TRAIN, "cut", "is damaged or not a safetensors file"),
        ("evaluate", TEST, "empty", "is damaged or not a safetensors file"),
        ("evaluate", TEST, "other tensors", "does not hold images and labels"),
        ("evaluate", MODEL, "cut", "is damaged or not a safetensors file"),
        ("evaluate", MODEL, "other architecture", "does not hold a VAE of this project"),
        ("evaluate", MODEL, "not finite", "some of its weights are not finite"),
        ("sample", MODEL, "missing", "is missing; make it with: dvc repro"),
        ("sample", MODEL, "other tensors", "does not hold a VAE of this project"),
        ("sample", MODEL, "pickle", "is damaged or not a safetensors file"),
    ],
)
def test_a_damaged_input_is_named(stages, stage, path, how, words):
    before, whole = stages.project.outputs(stage), stages.project.read(path)
    damage(stages.project, path, how)
    done = stages.run(stage)
    assert_fails(done, f"error: {path} ")
    assert words in done["stderr"]
    assert "dvc repro" in done["stderr"]
    assert not (stages.project.folder / "executed").exists()
    assert stages.project.outputs(stage) == before
    stages.project.dvc("repro")  # finds out by itself
    assert stages.project.read(path) == whole
    assert stages.project.outputs(stage) == before


def test_a_metrics_file_that_a_viewer_holds_open(stages):
    before = stages.project.outputs("evaluate")
    with open(stages.project.folder / "metrics/test.json", "rb") as viewer:
        start = viewer.read(20)
        stages.project.set("elbo_samples: 2", "elbo_samples: 3")
        assert stages.run("evaluate")["code"] == 0
        assert start + viewer.read() == before["metrics/test.json"]
    assert stages.project.outputs("evaluate") != before


def test_more_memory_than_there_is(stages):
    stages.project.set("hidden_dims: [512, 64]", "hidden_dims: [1000000, 1000000]")
    before = stages.project.outputs("train")
    assert_fails(stages.run("train"), "error: not enough memory (")
    assert stages.project.outputs("train") == before


@pytest.mark.parametrize("text", ["train: 3", "train: [1]", "", "- 1", "train: {seed: 0xNINES}"])
def test_parameters_that_are_not_a_table_of_numbers_are_refused(stages, text):
    (stages.project.folder / "params.yaml").write_text(text.replace("NINES", "9" * 5000))
    assert_fails(stages.run("train"), "params.yaml: ")
