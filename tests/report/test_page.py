"""The page shows the results, makes no request, and runs no markup of others."""

import json
import shutil

import pytest

from tests.report.conftest import report
from vae.errors import UserError

IMAGE = "<img src=x onerror=alert(1)>"


def test_whatever_others_can_name_is_shown_as_text_and_so_are_all_pictures(visit, project):
    project.set("mirror: ", f"mirror: https://</script>{IMAGE} #")
    project.dvc("exp", "save", "-n", "<b>bold<script>alert(1)<b>" + "x" * 80)
    project.run("git", "commit", "-qam", "the experiment starts from an earlier commit now")
    project.set("train,", f"<b></script>{IMAGE},", "plots/splits.csv")
    project.set("</script>", "</script><!--", "params.yaml")
    for name in "epochs/10", "epochs/9", "epochs/draft", "my_own", IMAGE:
        shutil.copy(project.folder / "plots/samples.png", project.folder / f"plots/{name}.png")
    report(project)
    page = visit(project, 360)
    names = page.locator("#experiments ~ .scroll tbody th").all_inner_texts()
    assert names[0] == "workspace"
    assert "<b>bold<script>alert(1)<b>" + "x" * 80 in names
    ticks = page.locator("#chart-comparison .ytick").all_text_contents()
    assert "<b>bold<script>al…" in ticks
    assert f"<b></script>{IMAGE}" in page.locator("#chart-splits .ytick").all_text_contents()
    assert page.get_by_text(f"prepare.mirror = https://</script>{IMAGE}").count() == 1
    parameters = page.locator(".parameters td").all_text_contents()
    assert f"https://</script><!--{IMAGE}" in parameters
    assert page.locator("script").count() == 7
    assert page.locator("[onerror], [onload], img:not([src^='data:'])").count() == 0
    epochs = page.locator(".strip figcaption").all_inner_texts()
    assert epochs == [f"epoch {epoch}" for epoch in (1, 2, 3, 9, 10)]
    assert page.get_by_role("img", name="My own").is_visible()


def test_the_page_may_not_load_anything(visit, seen, reported, server):
    page = visit(reported("plain"))
    with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        page.evaluate(f"new Image().src = '{server.url}/picture'")
    seen.clear()  # of that message
    assert server.requests == []


def test_the_page_says_that_there_is_no_git(project):
    shutil.rmtree(project.folder / ".git")
    report(project)
    page = project.read("report.html").decode()
    assert "DVC's experiments start from a Git commit" in page
    assert " · no Git commit</p>" in page


def test_the_page_of_a_folder_of_a_larger_repository_has_its_commit_and_experiments(project):
    project.move_into_a_larger_repository()
    project.dvc("exp", "save", "-n", "saved")
    (project.folder.parent / "other").write_text("a change that is none of the project's")
    report(project)
    commit = project.run("git", "rev-parse", "--short", "HEAD").stdout.strip()
    page = project.read("report.html").decode()
    assert f" · commit {commit}</p>" in page
    assert '<th class="name">saved</th>' in page
    project.run("git", "rm", "-rq", "--cached", ".")  # an unrelated repository around it
    project.run("git", "commit", "-qm", "only other")
    report(project)
    assert " · no Git commit</p>" in project.read("report.html").decode()


def test_a_missing_git_is_named(project):
    project.env["PATH"] = str(project.folder)
    with pytest.raises(UserError, match=r"^the program git is not on PATH.*\nInstall git"):
        report(project)


def test_the_page_says_what_the_model_is_and_what_was_measured(visit, reported):
    project = reported("mixture")
    page = visit(project)
    assert page.title().startswith("VAE (288-64-64-40) on pictures: test ELBO −")
    commit = project.run("git", "rev-parse", "--short", "HEAD").stdout.strip()
    assert page.locator("h1 + p").inner_text() == (
        "288-64-64-40, residual, gaussian posterior, mixture prior, logistic likelihood · "
        f"8×12 pixels in colour, 256 levels · commit {commit}"
    )
    test = json.loads(project.read("metrics/test.json"))
    expected = [
        f"{test['elbo']:.2f} ± {test['elbo_stderr']:.2f}",
        f"{test['log_likelihood']:.2f} ± {test['log_likelihood_stderr']:.2f}",
        f"{test['reconstruction']:.2f}", f"{test['kl']:.2f}", str(test["active_units"]),
        f"{test['bits_per_dimension']:.4f}",
    ]  # fmt: skip
    values = page.locator(".metrics dt + dd").all_inner_texts()
    assert values == [value.replace("-", "−") for value in expected]
