"""The page reads experiments as DVC lists them, and names files that are bad."""

import pytest

from report.experiments import comparable, differences, select
from tests.report.conftest import MODELS, give_model, report
from vae.errors import UserError

INPUTS = "metrics/test.json", "plots/bounds.csv", "plots/samples.png", "models/vae.safetensors"
ROW = {
    "Experiment": None, "rev": "workspace", "State": None, "dataset": "MNIST",
    "binarization": "stochastic", "elbo": 1.0, "elbo_stderr": 1.0, "reconstruction": 1.0,
    "kl": 1.0, "log_likelihood": 1.0, "log_likelihood_stderr": 1.0, "importance_samples": 1.0,
    "active_units": 1.0,
}  # fmt: skip


def test_experiments_that_failed_or_wait_are_listed_without_numbers():
    old = {"metrics/test.json:elbo" if key == "elbo" else key: value for key, value in ROW.items()}
    rows = [
        ROW | {"train.epochs": 3.0},
        ROW | {"rev": "main", "train.epochs": 3.0},  # the same as the workspace
        old | {"rev": "1a", "Experiment": "renamed", "params.yaml:train.epochs": 4.5},
        ROW | {"Experiment": "private", "prepare.mirror": "https://user:secret@host/"},
        ROW | {"rev": "2b", "Experiment": "bad", "State": "Failed"},
        ROW | {"rev": "3c", "Experiment": "unreadable", "elbo": "!", "State": "Success"},
        ROW | {"rev": "3c", "Experiment": "nan", "elbo": float("nan")},
        ROW | {"rev": "main", "kl": 2.0},
    ]
    found = select(rows, ["train.epochs", "prepare.mirror"])
    assert [(one.name, one.state, one.changes) for one in found if not one.metrics] == [
        ("bad", "failed", {}), ("unreadable", "no metrics", {}), ("nan", "no metrics", {}),
    ]  # fmt: skip
    assert [(one.name, one.changes) for one in found if one.metrics] == [
        ("workspace", {}), ("renamed", {"train.epochs": "4.5"}),
        ("private", {"prepare.mirror": "https://…@host/"}), ("main", {}),
    ]  # fmt: skip


def test_experiments_on_the_same_images_are_compared():
    older = {key: value for key, value in ROW.items() if key != "dataset"}
    rows = [
        ROW,
        older | {"Experiment": "older", "elbo": -1.8},  # when MNIST was the only data set
        ROW | {"Experiment": "far", "elbo": -1.9},  # 2.9 is more than twice √2
        ROW | {"Experiment": "fashion", "elbo": -1.9, "dataset": "FashionMNIST"},
        ROW | {"Experiment": "thresholded", "binarization": "threshold 128"},
        ROW | {"Experiment": "running", "State": "Running"},
    ]
    experiments = select(rows, [])
    assert [one.name for one in comparable(experiments)] == ["workspace", "older", "far"]
    assert differences(experiments) == [
        "", "−2.80, within the errors", "−2.90, beyond the errors", "not comparable",
        "not comparable", "",
    ]  # fmt: skip


@pytest.mark.parametrize("path", INPUTS)
def test_a_missing_or_damaged_input_is_named_and_an_older_page_stays(project, path):
    page, file = project.folder / "report.html", project.folder / path
    page.write_text("older")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    if path.endswith(".csv"):
        file.write_bytes(content.replace(b"\n", b",more\n").replace(b"-", b"?").replace(b"0", b"?"))
    for reason in "damaged", "missing":
        with pytest.raises(UserError) as error:
            report(project)
        message = str(error.value)
        assert message.startswith(f"{path} is {reason}")
        assert "dvc repro" in message.splitlines()[-1]
        assert len(message.splitlines()) <= 2
        file.unlink(missing_ok=True)
    assert page.read_text() == "older"


def test_the_command_ends_with_the_message(stages):
    (stages.project.folder / "metrics/test.json").unlink()
    message = "error: metrics/test.json is missing.\nMake it: dvc repro\n"
    assert stages.run("report") == {"code": 1, "stdout": "", "stderr": message}


def test_files_of_another_model_are_refused(project):
    paths = "data/test.safetensors", "plots/units.csv"
    contents = [project.read(path) for path in paths]
    give_model(project, *MODELS["mixture"])
    for path, content in zip(paths, contents, strict=True):
        ours = project.read(path)
        (project.folder / path).write_bytes(content)
        with pytest.raises(UserError, match=rf"^{path} is not of the model in models/.*\nMake "):
            report(project)
        (project.folder / path).write_bytes(ours)
