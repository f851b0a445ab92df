"""A stage copes with its surroundings: device, Python, home folder, and readers of its output."""

import re

import pytest

from pipeline.stage import start


def test_a_python_without_the_packages_is_told_apart(project):
    # -S leaves out the environment's packages.
    done = project.run("python", "-S", "-m", "stages.prepare", check=False)
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert first.endswith(" has no torch, pydantic, safetensors.")
    assert second == "Activate the environment (. .venv/bin/activate), or run: make repro"


ASCII = """
import sys

for number, name in (1, "stdout"), (2, "stderr"):
    stream = open(number, "w", encoding="ascii", errors="backslashreplace", closefd=False)
    setattr(sys, name, stream)
"""


def test_characters_that_a_terminal_cannot_show_stop_no_stage(stages):
    done = stages.run("evaluate", first=ASCII.replace("backslashreplace", "strict"))
    assert (done["code"], done["stderr"]) == (0, "")
    assert r" \xb1 " in done["stdout"]
    stages.project.set("epochs: 3", "ëpochs: 3")
    said = stages.fail("train", first=ASCII)
    assert r"params.yaml: train.\xebpochs = 3 is not a parameter" in said


@pytest.mark.parametrize(
    "first",
    [
        "import os; reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1)",
        "import os; full = os.open('/dev/full', os.O_WRONLY); os.dup2(full, 1); os.dup2(full, 2)",
        "import sys; sys.stdout = sys.stderr = None",  # which both are if they are closed
    ],
    ids=["the reader has gone", "the disk of the log is full", "closed"],
)
def test_training_ends_although_nobody_reads_its_output(stages, first):
    before = stages.project.outputs("train")
    for path in before:
        (stages.project.folder / path).unlink()
    done = stages.run("train", first=first)
    assert (done["code"], done["stdout"], done["stderr"]) == (0, "", "")
    assert stages.project.outputs("train") == before


NO_HOME = """import os, pwd
pwd.getpwuid = {}.__getitem__  # as in a container, of a user that it does not know
for name in "HOME", "XDG_CACHE_HOME": os.environ.pop(name, None)
"""


def test_a_user_without_a_home_is_told_what_to_set(stages):
    assert "\nSet HOME or XDG_CACHE_HOME" in stages.fail("prepare", first=NO_HOME)


def test_a_processor_with_other_arithmetic_is_reported_before_any_work(stages):
    """Here torch imitates a processor without AVX2."""
    (line,) = stages.run("sample", ATEN_CPU_CAPABILITY="default")["stderr"].splitlines()
    assert re.match(r"this machine's arithmetic \(torch [\d.+\w]+, DEFAULT\) is not that of", line)
    assert stages.run("sample")["stderr"] == ""
    stages.project.set('"AVX2,STRICT": "', '"AVX2,STRICT": "0', "vae/numerics/machine.py")
    assert "their bits will differ, not their values" in stages.run("sample")["stderr"]


@pytest.mark.parametrize("has", [True, False])
def test_a_processor_that_imitates_bfloat16_is_reported(monkeypatch, capsys, has):
    monkeypatch.setattr("pipeline.stage._has_bfloat16", lambda: has)
    monkeypatch.setattr("vae.numerics.start", lambda *_: None)
    start("cpu", "train.device", numerics="native", precision="bfloat16")
    assert capsys.readouterr().err.count("train.precision = bfloat16:") == (not has)
