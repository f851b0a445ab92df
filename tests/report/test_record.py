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


def test_nothing_is_said_of_one_run_nor_of_what_is_missing_nor_without_dvc_lock(project):
    assert said(project) is None
    for path in "models/vae.safetensors", "data/train.safetensors":  # not pulled
        (project.folder / path).unlink()
    assert said(project) is None
    (project.folder / "dvc.lock").unlink()
    project.set("kl_weight: 5.0", "kl_weight: 1.5")
    assert said(project) is None


def test_edited_parameters_that_did_not_run_are_named_on_the_page(project):
    report(project)
    assert b'class="mixture"' not in project.read("report.html")
    project.set("kl_weight: 5.0", "kl_weight: 1.5")
    project.set("network: mlp", "network: conv")
    report(project)
    page = project.read("report.html").decode()
    top = page.partition("<h1>")[2].partition("<dl")[0]
    assert names("model&#46;network", "train&#46;kl&#95;weight") in top
    assert "run <code>dvc repro</code>" in top


def test_parameters_that_no_run_had_are_named(project):
    project.set("network: mlp", "units: 48\n  network: mlp")
    assert names("model&#46;units") in said(project)


@pytest.mark.parametrize(
    "path",
    ["metrics/test.json", "plots/units.csv", "plots/latent.png", "plots/epochs/2.png",
     "models/vae.safetensors"],
)  # fmt: skip
def test_a_file_of_another_run_is_named(project, path):
    file = project.folder / path
    file.write_bytes(file.read_bytes() + b" ")
    named = "plots/epochs" if "epochs" in path else path
    assert names(named.replace("/", "&#47;").replace(".", "&#46;")) in said(project)


def test_a_branch_is_of_one_run_only_after_dvc_checkout(stages):
    project = stages.project
    project.run("git", "checkout", "-q", "-b", "other")
    project.choose("train.epochs=2 train.kl_weight=1")
    stages.succeed("train", "evaluate", "sample")
    project.dvc("commit", "--force")
    project.commit()
    assert said(project) is None
    project.run("git", "checkout", "-q", "main")
    assert names("models&#47;vae&#46;safetensors", "plots&#47;epochs") in said(project)
    project.dvc("checkout")
    assert said(project) is None


def test_metrics_of_an_earlier_model_are_not_of_one_run_with_it(stages):
    project = stages.project
    project.choose("train.kl_weight=1")
    stages.succeed("train")
    project.dvc("commit", "--force", "train")
    assert names("models&#47;vae&#46;safetensors") in said(project)


def test_stages_of_earlier_names_are_no_part_of_the_record(project):
    lock = project.read("dvc.lock").decode()
    old = lock.partition("\n  sample:")[2].replace("columns: 4", "columns: 5")
    (project.folder / "dvc.lock").write_text(f"{lock}  draw:{old}")
    assert said(project) is None


@pytest.mark.parametrize("content", ["[]", "stages: 3", "stages: {train: {outs: [3]}}", "a: [", ""])
def test_a_damaged_dvc_lock_is_named(project, content):
    (project.folder / "dvc.lock").write_text(content)
    with pytest.raises(UserError, match=r"^dvc\.lock is "):
        said(project)
