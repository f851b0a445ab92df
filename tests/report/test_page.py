"""What the page shows, and that it shows nothing else: no request, no markup of others."""

import json
import re
import shutil

import dvc.api
import pytest

from report.__main__ import main
from tests.conftest import Project
from tests.report.conftest import settled

IMAGE = "<img src=x onerror=alert(1)>"


def channels(color: str) -> list[float]:
    return [float(number) for number in re.findall(r"[\d.]+", color)[:3]]


def luminance(color: str) -> float:
    """Relative luminance of WCAG 2.2, of a CSS colour rgb(…)."""
    linear = [
        c / 12.92 if (c := channel / 255) <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for channel in channels(color)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    dark, light = sorted([luminance(first), luminance(second)])
    return (light + 0.05) / (dark + 0.05)


def test_light_and_dark_are_legible_and_charts_follow_the_change(visit, plain):
    page = visit(plain)
    backgrounds = []
    for scheme in "light", "dark":
        page.emulate_media(color_scheme=scheme)
        settled(page)
        backgrounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        for selector, of in ("body", "color"), (".note", "color"), (".xtick text", "fill"):
            color = page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{of}")
            assert contrast(color, backgrounds[-1]) > 4.5, (scheme, selector)
    light, dark = map(luminance, backgrounds)
    assert light > 0.8
    assert dark < 0.05


@pytest.fixture
def hostile(project, monkeypatch) -> Project:
    """Wherever the page has text that someone else can choose, it is markup."""
    project.set("mirror: ", f"mirror: https://</script>{IMAGE} #")
    project.dvc("exp", "save", "-n", "<b>bold<script>alert(1)<b>" + "x" * 80)
    project.run("git", "commit", "-qam", "the experiment starts from an earlier commit now")
    project.set("train,", f"<b></script>{IMAGE},", "plots/splits.csv")
    project.set("</script>", "</script><!--", "params.yaml")
    shutil.copy(project.folder / "plots/samples.png", project.folder / f"plots/{IMAGE}.png")
    listed = dvc.api.exp_show

    def with_another(**options) -> list[dict]:  # DVC refuses such a name, Git does not
        rows = listed(**options)
        return [*rows, rows[-1] | {"Experiment": "<svg/onload=alert(1)>"}]

    monkeypatch.setattr(dvc.api, "exp_show", with_another)
    monkeypatch.chdir(project.folder)
    main()
    return project


def test_names_and_values_are_text(visit, hostile):
    page = visit(hostile)
    names = page.locator("#experiments ~ .scroll tbody th").all_inner_texts()
    assert names[0] == "workspace"
    assert {"<svg/onload=alert(1)>", "<b>bold<script>alert(1)<b>" + "x" * 80} < set(names)
    ticks = page.locator("#chart-comparison .ytick").all_text_contents()
    assert {"<svg/onload=alert…", "<b>bold<script>al…"} <= set(ticks)
    assert f"<b></script>{IMAGE}" in page.locator("#chart-splits .ytick").all_text_contents()
    assert page.get_by_text(f"prepare.mirror = https://</script>{IMAGE}").count() == 2
    page.get_by_text("All parameters").click()
    assert page.get_by_text(f"https://</script><!--{IMAGE}", exact=True).is_visible()
    assert page.locator("script").count() == 5
    assert page.locator("[onerror], [onload], img:not([src^='data:'])").count() == 0


@pytest.mark.parametrize("width", [360, 700])
def test_a_narrow_window_needs_no_scrolling_sideways(visit, hostile, width):
    page = visit(hostile, width)
    page.get_by_text("All parameters").click()
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_the_page_may_not_load_anything(browser, plain, session_server):
    page = browser.new_page()
    page.goto((plain.folder / "report.html").as_uri())
    address = f"{session_server.url}/picture"
    refused = page.evaluate(
        """(address) => new Promise((done) => {
          document.addEventListener("securitypolicyviolation", (event) => done(event.blockedURI));
          const image = new Image();
          image.onload = image.onerror = () => setTimeout(() => done("asked for it"), 500);
          image.src = address;
        })""",
        address,
    )
    assert refused == address
    assert "/picture" not in session_server.requests
    page.close()


def test_epochs_are_in_numeric_order_and_other_pictures_shown(project, monkeypatch, visit):
    for name in "epochs/10", "epochs/9", "epochs/draft", "my_own":
        shutil.copy(project.folder / "plots/samples.png", project.folder / f"plots/{name}.png")
    monkeypatch.chdir(project.folder)
    main()
    page = visit(project)
    assert page.locator(".strip figcaption").all_inner_texts() == [
        f"epoch {epoch}" for epoch in (1, 2, 3, 9, 10)
    ]
    assert page.get_by_role("img", name="My own").is_visible()


def test_without_a_commit_the_page_says_so(project, monkeypatch, visit):
    shutil.rmtree(project.folder / ".git")
    monkeypatch.chdir(project.folder)
    main()
    without_git = project.read("report.html")
    page = visit(project)
    assert page.get_by_text("DVC's experiments start from a Git commit").is_visible()
    assert page.get_by_text("· no Git commit").is_visible()
    project.run("git", "init", "-q")
    main()
    assert project.read("report.html") == without_git


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
    commit = plain.run("git", "rev-parse", "--short", "HEAD").stdout.strip()
    model = "784-512-64-12, bounded posterior, standard prior · pixels binarized: threshold 128"
    assert page.get_by_text(f"{model} · commit {commit}", exact=True).is_visible()
