"""A pull request is told which numbers, parameters and pictures changed, and by how much."""

import contextlib
import json
import os
import re
import shutil
import sys
from unittest.mock import patch

import pytest

from report.changes import main
from tests.project import Project
from vae.errors import UserError

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
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return changes


def measure(project: Project, **changed: object) -> None:
    path = project.folder / "metrics/test.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def test_what_changed_is_listed_with_its_errors_and_pictures(project, changes):
    measure(project, elbo=-100.0, elbo_stderr=0.3, kl=8.0, log_likelihood=-90.0,
            log_likelihood_stderr=0.3, active_units=1007)  # fmt: skip
    project.commit()
    base = project.run("git", "rev-parse", "HEAD").stdout.strip()
    measure(project, elbo=-98.9, elbo_stderr=0.4, kl=7.75, log_likelihood=-91.0,
            log_likelihood_stderr=0.4, active_units=5)  # fmt: skip
    project.set("kl_weight: 5.0", "kl_weight: 1.5")
    project.set("mirror: file", "mirror: <img>|@someone`http://user:secret@")
    plots = project.folder / "plots"
    (plots / "latent.png").unlink()
    shutil.copy(plots / "samples.png", plots / "a )|<b>.png")
    shutil.copy(plots / "traversals.png", plots / "samples.png")
    project.commit()
    head = project.run("git", "rev-parse", "HEAD").stdout.strip()
    shutil.copy(plots / "samples.png", plots / "interpolations.png")

    text = changes(base, "--images", f"{URL}/")
    assert f"from {base[:7]} to {head[:7]}, with uncommitted changes\n" in text
    rows = [line.strip("| ") for line in text.splitlines() if line[:7] == "| <code"]
    before, now = f"![]({URL}/{base}/plots", f"![]({URL}/{head}/plots"
    expected = {
        "<code>test&#58; elbo</code> | −100.0000 ± 0.3000 | −98.9000 ± 0.4000 | +1.1000 | "
        "**beyond** 2 × 0.5000",
        "<code>test&#58; log&#95;likelihood</code> | −90.0000 ± 0.3000 | −91.0000 ± 0.4000 | "
        "−1.0000 | within 2 × 0.5000",
        "<code>test&#58; kl</code> | 8.0000 | 7.7500 | −0.2500",
        "<code>test&#58; active&#95;units</code> | 1,007 | 5 | −1,002",
        "<code>train&#46;kl&#95;weight</code> | 5.0000 | 1.5000",
        f"<code>latent</code> | {before}/latent.png)",
        f"<code>a &#41;&#124;&#60;b&#62;</code> |  | {now}/a%20%29%7C%3Cb%3E.png)",
        f"<code>samples</code> | {before}/samples.png) | {now}/samples.png)",
        f"<code>interpolations</code> | {before}/interpolations.png) | not committed",
    }
    assert expected < set(rows)
    (mirror,) = set(rows) - expected
    assert mirror.startswith("<code>prepare&#46;mirror</code> | ")
    assert "<img" not in text
    assert "@" not in text
    assert "secret" not in text
    assert "`dvc plots diff" in changes(base)  # without links, the pictures are named


def test_a_folder_of_a_larger_repository_is_compared_and_its_pictures_linked(project, changes):
    project.move_into_a_larger_repository()
    base = project.run("git", "rev-parse", "HEAD").stdout.strip()
    measure(project, kl=0.0)
    project.set("columns: 4", "columns: 8")
    plots = project.folder / "plots"
    shutil.copy(plots / "traversals.png", plots / "samples.png")
    project.commit()
    (project.folder.parent / "other").write_text("a change that is none of the project's")
    head = project.run("git", "rev-parse", "HEAD").stdout.strip()
    text = changes(base, "--images", URL)
    at = "project/plots/samples.png"
    assert f"| ![]({URL}/{base}/{at}) | ![]({URL}/{head}/{at}) |" in text
    assert "<code>test&#58; kl</code>" in text
    assert "| <code>sample&#46;columns</code> | 4 | 8 |" in text


def test_results_that_cannot_be_compared_are_labelled(project, changes):
    text = changes("HEAD")
    for kind in "metric", "parameter", "picture":
        assert f"No {kind} differs." in text
    measure(project, elbo=-1.0, log_likelihood=-1.0, importance_samples=9)
    project.set("kl_weight: 5.0", "kl_weight: 1.5")
    text = changes("HEAD")
    assert text.count("**beyond**") == 1
    assert text.count("not comparable: more draws raise the bound") == 1
    (line,) = (line for line in text.splitlines() if "not everything" in line.lower())
    assert "something else for <code>train&#46;kl&#95;weight</code>, <code>metrics" in line
    measure(project, binarization="stochastic")
    assert changes("HEAD").count("not comparable: other images") == 2


def test_missing_results_are_named(project, changes):
    def refusal(base: str) -> str:
        with pytest.raises(UserError) as error:
            changes(base)
        return str(error.value)

    not_whole = "the workspace's results are not whole: "
    shutil.rmtree(project.folder / "metrics")
    project.commit()
    assert refusal("HEAD~").startswith(f"{not_whole}metrics/t")
    project.run("git", "checkout", "-q", "HEAD~", "--", "metrics")
    assert refusal("HEAD").startswith("BASE = 'HEAD' has no metrics: metrics/test.json is ")
    (project.folder / "dvc.yaml").write_text("stages: [")
    assert re.match(rf"{not_whole}.*dvc\.yaml", refusal("HEAD~"))


def test_a_mistake_ends_in_two_lines(stages, project, changes):
    done = stages.run("report.changes", first="import sys; sys.argv.append('nowhere')")
    assert (done["code"], done["stdout"]) == (1, "")
    assert done["stderr"].splitlines() == [
        "error: BASE = 'nowhere' is no commit of this repository.",
        "Fetch it (git fetch origin), or choose one of: git log --oneline --all",
    ]
    shutil.rmtree(project.folder / ".git")
    with pytest.raises(UserError, match=r"^there is no Git repository here.*\nRun this in the"):
        changes("nowhere")
