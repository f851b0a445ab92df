"""The page shows the results, makes no request, and runs no markup of others."""

import json
import re
import shutil

import pytest

from tests.report.conftest import IMAGE, report, settled
from vae.errors import UserError


def test_a_page_is_light_or_dark_and_its_text_is_legible(visit, plain):
    page = visit(plain)
    for scheme in "dark", "light":
        page.emulate_media(color_scheme=scheme)
        settled(page)
        brightness = []
        for its in "backgroundColor", "color":
            color = page.evaluate(f"getComputedStyle(document.body).{its}")
            brightness.append(sum(map(int, re.findall(r"\d+", color)[:3])) / 765)
        assert brightness == sorted(brightness, reverse=scheme == "light")
        assert abs(brightness[0] - brightness[1]) > 0.6


def test_names_and_values_are_text(visit, unusual):
    page = visit(unusual, 360)
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


def test_epochs_are_in_numeric_order_and_other_pictures_shown(visit, unusual):
    page = visit(unusual, 360)
    assert page.locator(".strip figcaption").all_inner_texts() == [
        f"epoch {epoch}" for epoch in (1, 2, 3, 9, 10)
    ]
    assert page.get_by_role("img", name="My own").is_visible()


def test_the_page_may_not_load_anything(visit, seen, plain, server):
    page = visit(plain)
    with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        page.evaluate(f"new Image().src = '{server.url}/picture'")
    seen.clear()  # of that message
    assert server.requests == []


def test_the_page_says_that_there_is_no_git(visit, project):
    shutil.rmtree(project.folder / ".git")
    report(project)
    page = visit(project)
    assert page.get_by_text("DVC's experiments start from a Git commit").is_visible()
    assert page.get_by_text("· no Git commit").is_visible()
    without_git = project.read("report.html")
    project.run("git", "init", "-q")  # a repository without commits counts as none
    report(project)
    assert project.read("report.html") == without_git


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


def test_numbers_are_the_metrics(visit, plain):
    page = visit(plain)
    test = json.loads(plain.read("metrics/test.json"))
    expected = [
        f"{test['elbo']:.2f} ± {test['elbo_stderr']:.2f}",
        f"{test['log_likelihood']:.2f} ± {test['log_likelihood_stderr']:.2f}",
        f"{test['reconstruction']:.2f}", f"{test['kl']:.2f}", str(test["active_units"]),
        f"{test['bits_per_dimension']:.4f}",
    ]  # fmt: skip
    values = page.locator(".metrics dt + dd").all_inner_texts()
    assert values == [value.replace("-", "−") for value in expected]


def test_the_page_says_what_the_model_is(visit, large):
    page = visit(large)
    assert page.title().startswith("VAE (288-500-500-40) on pictures: test ELBO −")
    assert page.locator("h1").inner_text() == "A variational autoencoder on pictures"
    commit = large.run("git", "rev-parse", "--short", "HEAD").stdout.strip()
    assert page.locator("h1 + p").inner_text() == (
        "288-500-500-40, residual, gaussian posterior, mixture prior, logistic likelihood · "
        f"8×12 pixels in colour, 256 levels · commit {commit}"
    )
