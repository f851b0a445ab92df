"""The workflow of pull requests is well-formed, and says what a request changes."""

import shutil
import subprocess
import sys

import pytest
import yaml

from report.changes import MARKER
from tests.project import ROOT

WORKFLOW = ROOT / ".github/workflows/check.yml"


def test_the_workflow_is_one_and_gives_nothing_away():
    for tool in "check-jsonschema", "zizmor":
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed, which is in the extra test")
    for command in (
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"],
        ["zizmor", "--offline", "--quiet"],
    ):
        done = subprocess.run([*command, WORKFLOW], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_says_what_a_pull_request_changes(project, tmp_path):
    project.run("git", "init", "-q", "--bare", str(tmp_path / "origin"))
    project.run("git", "remote", "add", "origin", str(tmp_path / "origin"))
    project.run("git", "checkout", "-q", "-b", "request")
    project.set("columns: 4", "columns: 8")
    plots = project.folder / "plots"
    shutil.copy(plots / "traversals.png", plots / "samples.png")
    project.commit()
    project.run("git", "checkout", "-q", "main")
    project.set("seed: 0", "seed: 1")  # what main changes meanwhile is none of the request's
    project.commit()
    project.run("git", "push", "-q", "origin", "main")
    project.run("git", "checkout", "-q", "request")
    (project.folder / ".venv").symlink_to(sys.prefix)
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["check"]["steps"]
    (script,) = (step["run"] for step in steps if step.get("name") == "Say what it changes")
    project.run(
        "bash", "-e", "-c", script, GITHUB_BASE_REF="main", GITHUB_SERVER_URL="https://github.com",
        GITHUB_REPOSITORY="o/r", GITHUB_STEP_SUMMARY="summary.md",
    )  # fmt: skip
    text = project.read("changes.md").decode()
    assert text.encode() == project.read("summary.md")
    assert text.startswith(MARKER)
    assert "| <code>sample&#46;columns</code> | 4 | 8 |" in text
    assert "seed" not in text.partition("### Parameters")[2]
    head = project.run("git", "rev-parse", "HEAD").stdout.strip()
    assert f"![](https://github.com/o/r/raw/{head}/plots/samples.png)" in text
