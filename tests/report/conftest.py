"""Pages of small projects, opened in a real browser (Chromium, where there is one)."""

import contextlib
import math
import os
import shutil
from pathlib import Path
from unittest.mock import patch

import dvc.api
import pytest
import torch
from playwright.sync_api import sync_playwright

from benchmarks.picture import BROWSERS, browser_path
from report.__main__ import main
from tests.project import Project
from vae.common.files import write_csv
from vae.model.architecture import Architecture
from vae.model.vae import VAE

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
IMAGE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def browser():
    path = browser_path()
    if path is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def seen() -> list[str]:
    """What pages printed, raised, or requested besides themselves."""
    return []


@pytest.fixture(scope="session")
def opened(browser, seen) -> dict:
    """Pages by project and width. Tests share them, because opening one takes seconds."""
    return {}


@pytest.fixture
def visit(browser, seen, opened):
    """Opens a project's page and checks that it requested nothing but itself and reported no error.
    The explorer is where an earlier test left it.
    """

    def visit(project: Project, width: int = 1280):
        if (project.folder, width) not in opened:
            size = {"width": width, "height": 800}
            page = browser.new_context(viewport=size, color_scheme="light").new_page()
            address = (project.folder / "report.html").as_uri()
            page.on("console", lambda message: seen.append(message.text))
            page.on("pageerror", lambda error: seen.append(str(error)))
            page.on("dialog", lambda dialog: (seen.append("a dialog"), dialog.dismiss()))
            page.on("request", lambda request: request.url == address or seen.append(request.url))
            page.set_default_timeout(10_000)
            page.goto(address)
            page.wait_for_selector("#chart-units svg", state="attached")
            opened[project.folder, width] = page
        return opened[project.folder, width]

    yield visit
    found = seen.copy()
    seen.clear()
    assert found == []


def report(project: Project) -> None:
    """Does what `python -m report` does in the project, but saves the seconds for imports."""
    with contextlib.chdir(project.folder), patch.dict(os.environ, project.env):
        main()


def copied(project: Project, folder: Path) -> Project:
    shutil.copytree(project.folder, folder / "project", symlinks=True)
    return Project(folder / "project")


@torch.no_grad()
def untrained(architecture: Architecture, dataset: str = "MNIST") -> VAE:
    """The decoder's weights are random and large, so that its images differ and have contrast."""
    torch.manual_seed(0)
    model = VAE(architecture)
    model.dataset, model.binarization = dataset, "threshold 128"
    for parameter in model.decoder.parameters():
        parameter.normal_(0, 1.5 / math.sqrt(parameter[0].numel()))
    return model


def reported(project: Project, folder: Path, model: VAE) -> Project:
    """A copy of the project with another model, committed, and its page."""
    project = copied(project, folder)
    model.save(project.folder / "models/vae.safetensors")
    kl = [dimension * 7 % 40 / 10 for dimension in range(model.architecture.latent_dim)]
    rows = [{"dimension": i, "kl": kl, "variance_of_mean": kl} for i, kl in enumerate(kl)]
    write_csv(project.folder / "plots/units.csv", rows)
    project.run("git", "commit", "-qam", "units")
    report(project)
    return project


@pytest.fixture(scope="session")
def plain(reproduced, tmp_path_factory) -> Project:
    model = untrained(Architecture((512, 64), 12, "bounded"))
    return reported(reproduced, tmp_path_factory.mktemp("plain"), model)


@pytest.fixture(scope="session")
def large(reproduced, tmp_path_factory) -> Project:
    """The page of a model like the preset strong's. Its prior has its mass at corners at ±5."""
    model = untrained(Architecture((500, 500), 40, "gaussian", "mixture", residual=True))
    model.prior.means.data = 5 * model.prior.means.data.sign()
    model.prior.log_stds.data.fill_(-5)
    return reported(reproduced, tmp_path_factory.mktemp("large"), model)


@pytest.fixture(scope="session")
def convolutional(reproduced, tmp_path_factory) -> Project:
    model = untrained(Architecture((), 12, "gaussian", network="conv"), "FashionMNIST")
    return reported(reproduced, tmp_path_factory.mktemp("convolutional"), model)


@pytest.fixture(scope="session")
def unusual(reproduced, tmp_path_factory) -> Project:
    """A project with markup wherever other people can choose a text of the page, and with pictures
    of its own.
    """
    project = copied(reproduced, tmp_path_factory.mktemp("unusual"))
    project.set("mirror: ", f"mirror: https://</script>{IMAGE} #")
    project.dvc("exp", "save", "-n", "<b>bold<script>alert(1)<b>" + "x" * 80)
    project.run("git", "commit", "-qam", "the experiment starts from an earlier commit now")
    project.set("train,", f"<b></script>{IMAGE},", "plots/splits.csv")
    project.set("</script>", "</script><!--", "params.yaml")
    for name in "epochs/10", "epochs/9", "epochs/draft", "my_own", IMAGE:
        shutil.copy(project.folder / "plots/samples.png", project.folder / f"plots/{name}.png")
    listed = dvc.api.exp_show

    def with_another(**options) -> list[dict]:  # DVC refuses such a name, Git does not
        rows = listed(**options)
        return [*rows, rows[-1] | {"Experiment": "<svg/onload=alert(1)>"}]

    with patch.object(dvc.api, "exp_show", with_another):
        report(project)
    return project


@pytest.fixture(params=["plain", "large", "convolutional"])
def each(request) -> Project:
    return request.getfixturevalue(request.param)


def model_of(project: Project) -> VAE:
    return VAE.load(project.folder / "models/vae.safetensors")


def settled(page) -> None:
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
