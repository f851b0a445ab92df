"""The workflow of pull requests is well-formed, and its scripts do what they should."""

import json
import shutil
import subprocess
import sys

import pytest
import yaml

from report.changes import MARKER
from tests.project import ROOT

WORKFLOW = ROOT / ".github/workflows/check.yml"
JOBS = yaml.safe_load(WORKFLOW.read_text())["jobs"]


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
    (script,) = (step["run"] for step in JOBS["check"]["steps"] if "report.changes" in str(step))
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


GH = """#!/bin/sh
echo "$@" >> calls
while [ $# -gt 0 ]; do
    [ "$1" = --jq ] && exec jq -r "$2" comments.json
    shift
done
"""


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed, with which gh filters")
def test_the_comment_is_posted_once_and_then_updated(tmp_path):
    (step,) = JOBS["comment"]["steps"][1:]
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "GITHUB_REPOSITORY": "o/r", "NUMBER": "7"}
    for ours, request in [
        ("other", "repos/o/r/issues/7/comments"),
        (f"{MARKER}\nold", "--method PATCH repos/o/r/issues/comments/1"),
    ]:
        names = {"someone": MARKER, "github-actions[bot]": ours}
        comments = [
            {"id": number, "user": {"login": name}, "body": body}
            for number, (name, body) in enumerate(names.items())
        ]
        (tmp_path / "comments.json").write_text(json.dumps(comments))
        subprocess.run(["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=env, check=True)
        last = (tmp_path / "calls").read_text().splitlines()[-1]
        assert last == f"api --silent {request} --field body=@changes.md"
