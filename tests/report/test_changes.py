"""A pull request is told which numbers, parameters and pictures changed, and by how much."""

import contextlib
import json
import math
import os
import random
import shutil
import sys
from unittest.mock import patch

import pytest

from report.changes import main
from report.differences import metrics_table
from tests.project import Project
from vae.common.errors import UserError

URL = "https://github.com/o/r/raw"


@pytest.fixture
def changes(project, capsys):
    """What `python -m report.changes` prints in the project. Saves the second for imports."""

    def changes(*arguments: str) -> str:
        with (
            contextlib.chdir(project.folder),
            patch.dict(os.environ, project.env),
            patch.object(sys, "argv", ["report.changes", *arguments]),
        ):
            main()
        return capsys.readouterr().out

    return changes


def measure(project: Project, **changed: object) -> None:
    path = project.folder / "metrics/test.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def test_equal_results_are_reported_as_equal(project):
    done = project.run("python", "-m", "report.changes", "HEAD", "--images", URL)
    head = project.run("git", "rev-parse", "--short=7", "HEAD").stdout.strip()
    assert done.stdout.splitlines() == [
        "<!-- python -m report.changes -->", f"## Results: from {head} to {head}", "",
        "### Metrics", "", "No metric differs.", "",
        "### Parameters", "", "No parameter differs.", "",
        "### Pictures", "", "No picture differs.",
    ]  # fmt: skip
    assert done.stderr == ""


def test_what_changed_is_listed_with_its_errors_and_pictures(project, changes):
    measure(project, elbo=-100.0, elbo_stderr=0.3, kl=8.0, log_likelihood=-90.0,
            log_likelihood_stderr=0.3, active_units=1007)  # fmt: skip
    project.commit()
    base = project.run("git", "rev-parse", "HEAD").stdout.strip()
    measure(project, elbo=-98.9, elbo_stderr=0.4, kl=7.75, log_likelihood=-91.0,
            log_likelihood_stderr=0.4, active_units=5)  # fmt: skip
    project.set("kl_weight: 5.0", "kl_weight: 1.5")
    project.set("mirror: file", "mirror: <img>|@someone`file")
    plots = project.folder / "plots"
    (plots / "latent.png").unlink()
    shutil.copy(plots / "samples.png", plots / "a )|<b>.png")
    shutil.copy(plots / "traversals.png", plots / "samples.png")
    project.commit()
    head = project.run("git", "rev-parse", "HEAD").stdout.strip()
    shutil.copy(plots / "samples.png", plots / "interpolations.png")

    text = changes(base, "--images", f"{URL}/")
    assert f"from {base[:7]} to {head[:7]}, with uncommitted changes\n" in text
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:7] == "| <code"]
    cells = {name: values for name, *values in rows}
    beyond, within = "**beyond** 2 × 0.5000", "within 2 × 0.5000"
    assert cells == {
        "<code>test&#58; elbo</code>": [
            "−100.0000 ± 0.3000", "−98.9000 ± 0.4000", "+1.1000", beyond,
        ],
        "<code>test&#58; log&#95;likelihood</code>": [
            "−90.0000 ± 0.3000", "−91.0000 ± 0.4000", "−1.0000", within,
        ],
        "<code>test&#58; kl</code>": ["8.0000", "7.7500", "−0.2500"],
        "<code>test&#58; active&#95;units</code>": ["1,007", "5", "−1,002"],
        "<code>prepare&#46;mirror</code>": cells["<code>prepare&#46;mirror</code>"],
        "<code>train&#46;kl&#95;weight</code>": ["5.0000", "1.5000"],
        "<code>latent</code>": [f"![]({URL}/{base}/plots/latent.png)"],
        "<code>a &#41;&#124;&#60;b&#62;</code>": [
            "", f"![]({URL}/{head}/plots/a%20%29%7C%3Cb%3E.png)",
        ],
        "<code>samples</code>": [
            f"![]({URL}/{base}/plots/samples.png)", f"![]({URL}/{head}/plots/samples.png)",
        ],
        "<code>interpolations</code>": [
            f"![]({URL}/{base}/plots/interpolations.png)", "not committed",
        ],
    }  # fmt: skip
    assert "<img" not in text
    assert "@" not in text
    assert "`dvc plots diff" in changes(base)  # without links, the pictures are named


def test_results_that_cannot_be_compared_are_labelled(project, changes):
    measure(project, elbo=-1.0, log_likelihood=-1.0, importance_samples=9)
    text = changes("HEAD")
    assert text.count("**beyond**") == 1
    assert text.count("not comparable: more draws raise the bound") == 1
    measure(project, binarization="stochastic")
    assert changes("HEAD").count("not comparable: other images") == 2


@pytest.mark.parametrize(("correlation", "most"), [(0.0, 0.07), (0.9, 0.001)])
def test_equally_good_models_are_rarely_called_different(correlation, most):
    """Both models are measured on the same images, which are hard for both alike."""
    draw = random.Random(0).gauss
    beyond = 0
    for _ in range(2000):
        hard, own = math.sqrt(correlation) * draw(), math.sqrt(1 - correlation)
        before, now = hard + own * draw(), hard + own * draw()
        errors = {"old": 1.0, "new": 1.0}
        file = {"elbo": {"old": before, "new": now}, "elbo_stderr": errors}
        beyond += "**beyond** 2 ×" in metrics_table({"metrics/test.json": file})
    assert beyond / 2000 < most


def test_missing_results_are_named(project, changes):
    shutil.rmtree(project.folder / "metrics")
    project.commit()
    with pytest.raises(UserError, match=r"^the workspace's results are not whole: metrics/t"):
        changes("HEAD~")
    project.run("git", "checkout", "-q", "HEAD~", "--", "metrics")
    with pytest.raises(UserError, match=r"^BASE = 'HEAD' has no metrics: metrics/test.json is "):
        changes("HEAD")
    (project.folder / "metrics/test.json").write_text("{")
    project.commit()
    project.run("git", "checkout", "-q", "HEAD~2", "--", "metrics")
    with pytest.raises(UserError, match=r"^BASE = 'main' has no metrics.*\nChoose one of: git"):
        changes("main")
    (project.folder / "dvc.yaml").unlink()
    with pytest.raises(UserError, match=r"^metrics/test.json is none of the workspace's metrics"):
        changes("HEAD~2")
    (project.folder / "dvc.yaml").write_text("stages: [")
    with pytest.raises(UserError, match=r"^the workspace's results are not whole: .*dvc\.yaml"):
        changes("HEAD~2")
    project.run("git", "checkout", "-q", "HEAD", "--", "dvc.yaml")
    project.set("prepare:", "prepare: [")
    with pytest.raises(UserError, match=r"^the workspace's results are not whole: .*params\.yaml"):
        changes("HEAD~2")


def test_a_mistake_ends_in_two_lines(project):
    def lines() -> list[str]:
        done = project.run("python", "-m", "report.changes", "nowhere", check=False)
        assert done.returncode == 1
        assert done.stdout == ""
        return done.stderr.splitlines()

    assert lines() == [
        "error: BASE = 'nowhere' is no commit of this repository.",
        "Fetch it (git fetch origin), or choose one of: git log --oneline --all",
    ]
    shutil.rmtree(project.folder / ".git")
    assert lines() == [
        "error: there is no Git repository here, and so no commit to compare with.",
        "Run this in the root folder of a clone",
    ]
