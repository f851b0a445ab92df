"""What the page is made of: experiments as DVC lists them, and files that may be bad."""

import pytest

from report.__main__ import main
from report.experiments import select
from stages.errors import UserError
from tests.report.conftest import copied

INPUTS = [
    "metrics/test.json", "plots/training.csv", "plots/splits.csv", "plots/bounds.csv",
    "plots/units.csv", "plots/samples.png", "models/vae.safetensors", "data/test.safetensors",
]  # fmt: skip


def test_experiments_that_failed_or_wait_are_listed_without_numbers():
    row = {"Experiment": None, "rev": "workspace", "State": None, "binarization": "stochastic"}
    row |= dict.fromkeys(["elbo", "elbo_stderr", "kl", "log_likelihood"], 1.0)
    row |= dict.fromkeys(["log_likelihood_stderr", "importance_samples", "active_units"], 1.0)
    old = {"metrics/test.json:elbo" if key == "elbo" else key: value for key, value in row.items()}
    rows = [
        row | {"train.epochs": 3.0},
        row | {"rev": "main", "train.epochs": 3.0},  # the same as the workspace
        old | {"rev": "1a", "Experiment": "renamed", "params.yaml:train.epochs": 4.5},
        row | {"rev": "2b", "Experiment": "bad", "State": "Failed"},
        row | {"rev": "3c", "Experiment": "unreadable", "elbo": "!", "State": "Success"},
        row | {"rev": "3c", "Experiment": "nan", "elbo": float("nan")},
        row | {"rev": "main", "kl": 2.0},
    ]
    found = select(rows, ["train.epochs"])
    assert [(one.name, one.state, one.changes) for one in found if not one.metrics] == [
        ("bad", "failed", {}), ("unreadable", "no metrics", {}), ("nan", "no metrics", {}),
    ]  # fmt: skip
    assert [(one.name, one.changes) for one in found if one.metrics] == [
        ("workspace", {}), ("renamed", {"train.epochs": "4.5"}), ("main", {}),
    ]  # fmt: skip


@pytest.mark.parametrize("path", INPUTS)
def test_a_missing_or_damaged_input_is_named_and_an_older_page_stays(project, monkeypatch, path):
    monkeypatch.chdir(project.folder)
    page, file = project.folder / "report.html", project.folder / path
    page.write_text("older")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    if path.endswith(".csv"):
        file.write_bytes(content.replace(b"\n", b",more\n").replace(b"-", b"?").replace(b"0", b"?"))
    for reason in "damaged", "missing":
        with pytest.raises(UserError) as error:
            main()
        message = str(error.value)
        assert message.startswith(f"{path} is {reason}")
        assert "dvc repro" in message.splitlines()[-1]
        assert len(message.splitlines()) <= 2
        file.unlink(missing_ok=True)
    assert page.read_text() == "older"


def test_the_command_ends_with_the_message(project):
    (project.folder / "metrics/test.json").unlink()
    done = project.run("python", "-m", "report", check=False)
    message = "error: metrics/test.json is missing.\nMake it: dvc repro\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)


def test_units_of_another_model_are_refused(large, tmp_path, monkeypatch):
    project = copied(large, tmp_path)
    project.run("git", "checkout", "HEAD~", "plots/units.csv")
    monkeypatch.chdir(project.folder)
    with pytest.raises(UserError, match=r"^plots/units.csv is of another model"):
        main()
