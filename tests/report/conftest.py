"""Pages of small projects, opened in a real browser (Chromium, where there is one)."""

import shutil

import pytest
import torch
from playwright.sync_api import sync_playwright

from stages.files import write_csv
from stages.vae import VAE, Architecture
from tests.conftest import Project

BROWSERS = "chromium", "chromium-browser", "google-chrome"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Opens a project's page, of which the test then may do what it likes: it must have asked for
    nothing but itself, and reported no error.
    """
    contexts, seen = [], []

    def visit(project: Project, width: int = 1280, scheme: str = "light"):
        size = {"width": width, "height": 800}
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme))
        page = contexts[-1].new_page()
        address = (project.folder / "report.html").as_uri()
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("dialog", lambda dialog: (seen.append("a dialog"), dialog.dismiss()))
        page.on("request", lambda request: request.url == address or seen.append(request.url))
        page.set_default_timeout(10_000)
        page.goto(address)
        page.wait_for_selector("#chart-units svg", state="attached")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert seen == []


def copied(project: Project, folder) -> Project:
    shutil.copytree(project.folder, folder / "project", symlinks=True)
    return Project(folder / "project")


def reported(project: Project, folder, model: VAE) -> Project:
    """A copy, with the page of another model."""
    project = copied(project, folder)
    model.binarization = "threshold 128"
    model.save(project.folder / "models/vae.safetensors")
    kl = [dimension * 7 % 40 / 10 for dimension in range(model.architecture.latent_dim)]
    rows = [{"dimension": i, "kl": kl, "variance_of_mean": kl} for i, kl in enumerate(kl)]
    write_csv(project.folder / "plots/units.csv", rows)
    project.run("git", "commit", "-qam", "units")
    done = project.run("python", "-m", "report")
    assert done.stdout == f"{project.folder}/report.html\n"
    return project


@torch.no_grad()
def untrained(architecture: Architecture) -> VAE:
    """Its decoder's weights are large, so that pixels differ and change."""
    torch.manual_seed(0)
    model = VAE(architecture)
    for parameter in model.decoder.parameters():
        parameter *= 3
    return model


@pytest.fixture(scope="session")
def plain(reproduced, tmp_path_factory) -> Project:
    model = untrained(Architecture((512, 64), 12, "bounded"))
    return reported(reproduced, tmp_path_factory.mktemp("plain"), model)


@pytest.fixture(scope="session")
def large(reproduced, tmp_path_factory) -> Project:
    """Of a model like the preset strong's, whose prior has its mass at corners at ±5."""
    model = untrained(Architecture((500, 500), 40, "gaussian", "mixture", residual=True))
    model.prior.means.data = 5 * model.prior.means.data.sign()
    model.prior.log_stds.data.fill_(-5)
    return reported(reproduced, tmp_path_factory.mktemp("large"), model)


@pytest.fixture(params=["plain", "large"])
def either(request) -> Project:
    return request.getfixturevalue(request.param)


def model_of(project: Project) -> VAE:
    return VAE.load(project.folder / "models/vae.safetensors")


def settled(page) -> None:
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
