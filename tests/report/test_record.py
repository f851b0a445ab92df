"""Parameters and results of different runs never stand side by side without a word."""

import contextlib

import pytest

from report.record import mixture
from tests.project import Project
from tests.report.conftest import report
from vae.errors import UserError


def said(project: Project) -> str | None:
    with contextlib.chdir(project.folder):
        return mixture()


def names(*escaped: str) -> str:
    return f"dvc.lock records something else for {', '.join(f'<code>{n}</code>' for n in escaped)};"


def test_nothing_is_said_of_what_is_missing_nor_of_earlier_stages_nor_without_dvc_lock(project):
    for path in "models/vae.safetensors", "data/train.safetensors":  # not pulled
        (project.folder / path).unlink()
    lock = project.read("dvc.lock").decode()
    old = lock.partition("\n  sample:")[2].replace("columns: 4", "columns: 5")
    (project.folder / "dvc.lock").write_text(f"{lock}  draw:{old}")  # a stage of an earlier name
    assert said(project) is None
    (project.folder / "dvc.lock").unlink()
    project.choose("train.kl_weight=1.5")
    assert said(project) is None


def test_edited_parameters_and_files_of_other_runs_are_named_on_the_page(project):
    report(project)
    assert b'class="mixture"' not in project.read("report.html")
    project.set("kl_weight: 5.0", "kl_weight: 1.5")
    project.set("network: mlp", "network: conv")
    for path in "metrics/test.json", "plots/epochs/2.png":
        (project.folder / path).write_bytes(project.read(path) + b" ")
    report(project)
    page = project.read("report.html").decode()
    top = page.partition("<h1>")[2].partition("<dl")[0]
    parameters = "model&#46;network", "train&#46;kl&#95;weight"
    assert names(*parameters, "metrics&#47;test&#46;json", "plots&#47;epochs") in top
    assert "run <code>dvc repro</code>" in top
    project.set("network: conv", "units: 48\n  network: conv")  # which no run had
    assert "<code>model&#46;units</code>" in said(project)


def test_a_branch_is_of_one_run_only_after_dvc_checkout(stages):
    project = stages.project
    project.run("git", "checkout", "-q", "-b", "other")
    project.choose("train.epochs=2 train.kl_weight=1")
    stages.succeed("train")
    project.dvc("commit", "--force", "train")
    assert names("models&#47;vae&#46;safetensors") in said(project)  # which metrics are not of
    stages.succeed("evaluate", "sample")
    project.dvc("commit", "--force")
    project.commit()
    assert said(project) is None
    project.run("git", "checkout", "-q", "main")
    assert names("models&#47;vae&#46;safetensors", "plots&#47;epochs") in said(project)
    project.dvc("checkout")
    assert said(project) is None


def test_a_damaged_dvc_lock_is_named(project):
    for content in "[]", "stages: 3", "stages: {train: {outs: [3]}}", "a: [", "":
        (project.folder / "dvc.lock").write_text(content)
        with pytest.raises(UserError, match=r"^dvc\.lock is "):
            said(project)
