"""Files that are edited while a stage runs are not recorded as its inputs."""

import os
import py_compile
from importlib.machinery import SourceFileLoader

import pytest

from pipeline.inputs import Inputs
from vae.errors import UserError

EDITED = """
from pathlib import Path
from pipeline.inputs import Inputs

text, check = Path("params.yaml").read_text().replace("seed: 0", "seed: 1"), Inputs.check
Inputs.check = lambda self: (Path("params.yaml").write_text(text), check(self))
"""


@pytest.mark.parametrize("stage", ["prepare", "evaluate", "sample"])
def test_a_stage_whose_inputs_changed_writes_nothing(stages, stage):
    """What lives on after DVC has ended would else overwrite the outputs of the next run."""
    for path in stages.project.outputs(stage):  # as DVC does
        (stages.project.folder / path).unlink()
    said = stages.fail(stage, first=EDITED)
    assert f"{stage}.seed changed while the stage {stage} ran" in said
    assert "Nothing was recorded. Run it again: dvc repro\n" in said
    assert stages.project.outputs(stage) == {}


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("prepare", "data/pictures/new.png"),
        ("train", "vae/images.py"),
        ("evaluate", "data/test.safetensors"),
        ("sample", "models/vae.safetensors"),
    ],
)
def test_every_change_of_a_dependency_is_seen(project, monkeypatch, stage, file):
    monkeypatch.chdir(project.folder)
    inputs = Inputs(stage)
    inputs.check()
    with open(file, "ab") as content:
        content.write(b"\n")
    with pytest.raises(UserError, match=f"^{file} changed while the stage {stage} ran"):
        inputs.check()


def test_a_section_that_is_no_table_any_more_is_named(project, monkeypatch):
    monkeypatch.chdir(project.folder)
    inputs, text = Inputs("sample"), project.read("params.yaml").decode()
    (project.folder / "params.yaml").write_text(text[: text.index("sample:")] + "sample: 5")
    with pytest.raises(UserError, match=r"^sample, sample\.columns, sample\.device and others "):
        inputs.check()


def test_single_parameters_and_other_files_of_them_are_inputs(project, monkeypatch):
    monkeypatch.chdir(project.folder)
    (project.folder / "other.yaml").write_text("value: 1")
    project.set("params: [sample]", "params: [sample.seed, {other.yaml: [value]}]", "dvc.yaml")
    for file, changed in ("params.yaml", "sample.seed"), ("other.yaml", "other.yaml"):
        inputs = Inputs("sample")
        path = project.folder / file
        path.write_text(path.read_text().replace("seed: 0", "seed: 1").replace("value: 1", ""))
        with pytest.raises(UserError, match=f"^{changed} changed while"):
            inputs.check()
    project.set("  sample:", "  draw:", "dvc.yaml")
    assert Inputs("sample").before == {}


LOADED_AND_EDITED = """
import pathlib, stages, vae.training.optimizer
path = pathlib.Path("vae/training/optimizer.py")
path.write_text(path.read_text().replace("beta1=0.9", "beta1=0.5"))
"""


def test_a_checkpoint_has_the_name_of_the_code_that_made_it(stages):
    optimizer = "vae/training/optimizer.py"
    said = stages.fail("train", first=LOADED_AND_EDITED)
    assert said.startswith(f"error: {optimizer} changed while the stage train ran")
    assert "going on" not in stages.succeed("train")
    of_new_code = stages.project.outputs("train")
    stages.project.run("git", "checkout", optimizer)
    assert "going on after epoch 3 of 3" in stages.succeed("train")  # of the code that was loaded
    assert stages.project.outputs("train") != of_new_code


def test_code_that_python_compiled_from_an_older_file_of_the_same_size_and_time_does_not_run(
    stages,
):
    project, file = stages.project, "vae/training/optimizer.py"
    path = project.folder / file
    before, time = project.outputs("train"), path.stat().st_mtime_ns
    py_compile.compile(str(path))
    python = SourceFileLoader("optimizer", str(path))
    old = python.get_code("optimizer")
    project.set("beta1=0.9", "beta1=0.1", file)
    os.utime(path, ns=(time, time))
    assert python.get_code("optimizer") == old  # Python alone takes the old one
    stages.succeed("train")
    assert project.outputs("train") != before


def test_a_stage_refuses_the_code_of_another_folder(stages, reproduced):
    said = stages.fail("train", first=f"import os; os.chdir({str(reproduced.folder)!r})")
    assert f"the code that runs is that of {stages.project.folder}, and not of this folder" in said
    assert "\nUnset PYTHONPATH and PYTHONSAFEPATH, and run it again" in said
