"""A stage copes with its surroundings: device, Python, home folder, and readers of its output."""

import re

import pytest


def test_auto_says_which_device_it_chose(project):
    project.set("device: cpu", "device: auto")
    done = project.stage("sample")
    assert re.fullmatch(r"sample\.device = auto: using (cpu|cuda:0|mps)\n", done.stdout)


@pytest.mark.parametrize("stage", ["prepare", "train", "evaluate", "sample"])
def test_a_python_without_the_packages_is_told_apart(project, stage):
    # -S leaves out the environment's packages.
    done = project.run("python", "-S", "-m", f"stages.{stage}", check=False)
    assert done.returncode == 1
    first, second = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert first.endswith(" has no torch, pydantic, safetensors.")
    assert second == "Activate the environment (. .venv/bin/activate), or run: make repro"


@pytest.mark.parametrize(
    ("surroundings", "printed"),
    [
        ({"PYTHONIOENCODING": "utf-8"}, "± "),
        ({"PYTHONIOENCODING": "ascii"}, r"\xb1 "),
        ({"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}, r"\xb1 "),
    ],
    ids=["UTF-8", "ASCII", "no locale"],
)
def test_characters_that_a_terminal_cannot_show_stop_no_stage(project, surroundings, printed):
    before = project.outputs("evaluate")
    done = project.stage("evaluate", **surroundings)
    assert printed in done.stdout
    assert done.stderr == ""
    assert project.outputs("evaluate") == before


@pytest.mark.parametrize(
    "command",
    [
        "python -m stages.train | true",
        "python -u -m stages.train | true",
        "python -m stages.train 2>&1 | true",
        "python -m stages.train >/dev/full 2>&1",
        "python -m stages.train >&- 2>&-",
    ],
)
def test_training_ends_although_nobody_reads_its_output(project, command):
    before = project.outputs("train")
    for path in before:
        (project.folder / path).unlink()
    done = project.run("bash", "-c", f"set -o pipefail; {command}")
    assert (done.stdout, done.stderr) == ("", "")
    assert project.outputs("train") == before


def test_a_mistake_is_named_in_any_encoding(project):
    project.set("epochs: 3", "ëpochs: 3")
    done = project.stage("train", check=False, PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert r"params.yaml: train.\xebpochs = 3 is not a parameter" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_user_without_a_home_is_told_what_to_set(project, tmp_path):
    # As in a container that runs with the number of a user that the system does not know.
    (tmp_path / "sitecustomize.py").write_text(
        "import pwd\n\ndef unknown(number):\n    raise KeyError(number)\n\npwd.getpwuid = unknown\n"
    )
    command = "env", "-u", "HOME", "-u", "XDG_CACHE_HOME", "python", "-m", "stages.prepare"
    done = project.run(*command, check=False, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Set HOME or XDG_CACHE_HOME" in done.stderr
    assert done.stderr.count("\n") == 2


def test_a_processor_with_other_arithmetic_is_reported_before_any_work(project):
    """Here torch imitates a processor without AVX2."""
    done = project.stage("sample", ATEN_CPU_CAPABILITY="default")
    (line,) = done.stderr.splitlines()
    assert re.match(r"this machine's arithmetic \(torch [\d.+\w]+, DEFAULT\) is not that of", line)
    assert project.stage("sample").stderr == ""
    project.set('"AVX2,STRICT": "', '"AVX2,STRICT": "0', "vae/numerics/machine.py")
    assert "their bits will differ, not their values" in project.stage("sample").stderr
