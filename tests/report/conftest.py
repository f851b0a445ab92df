"""Pages of small projects, opened in a real browser (Chromium, where there is one)."""

import contextlib
import math
import os
import shutil
from unittest.mock import patch

import dvc.api
import pytest
import torch
from playwright.sync_api import sync_playwright

from report.__main__ import main
from tests.project import Project
from vae.files import write_csv
from vae.images import save_images
from vae.model.architecture import Architecture
from vae.model.vae import VAE

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
BROWSERS = "chromium", "chromium-browser", "google-chrome"
GREY, COLOUR = (1, 28, 28), (3, 8, 12)
RESIDUAL = {"hidden_dims": (64, 64), "residual": True}
MODELS = {  # data set and architecture
    "plain": ("MNIST", Architecture(GREY, 12, posterior="bounded")),
    "conditional": ("MNIST", Architecture(GREY, 12, posterior="bounded", classes=10)),
    "colourful": ("pictures", Architecture(COLOUR, 12, "conv", likelihood="logistic")),
    "mixture": ("pictures", Architecture(COLOUR, 40, "mlp", RESIDUAL, "logistic", prior="mixture")),
}


@pytest.fixture(scope="session")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
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
def opened() -> dict:
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
            page.set_default_timeout(60_000)
            page.goto(address)
            page.wait_for_selector("#chart-units svg", state="attached")
            opened[project.folder, width] = page
        return opened[project.folder, width]

    yield visit
    found = seen.copy()
    seen.clear()
    assert found == []


def settled(page) -> None:
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def report(project: Project) -> None:
    """Does what `python -m report` does in the project, but saves the seconds for imports."""
    with contextlib.chdir(project.folder), patch.dict(os.environ, project.env):
        main()


def model_of(project: Project) -> VAE:
    return VAE.load(project.folder / "models/vae.safetensors")


@torch.no_grad()
def give_model(project: Project, dataset: str, architecture: Architecture) -> None:
    """Puts a model in the project, with test images of its kind. Its decoder's weights are random
    and large, so that its images differ and have contrast. Of a mixture, the mass is at ±5.
    """
    torch.manual_seed(0)
    model = VAE(architecture)
    for parameter in model.decoder.parameters():
        parameter.normal_(0, 1.5 / math.sqrt(parameter[0].numel()))
    if architecture.prior == "mixture":
        model.prior.means.copy_(5 * model.prior.means.sign())
        model.prior.log_stds.fill_(-5)
    levels, labels = model.likelihood.levels, torch.arange(20, dtype=torch.uint8) % 10
    metadata = {"binarization": "none"}
    if levels == 2:
        metadata = {"binarization": "threshold", "threshold": "128"}
    model.dataset, model.binarization = dataset, " ".join(metadata.values())
    model.save(project.folder / "models/vae.safetensors")
    images = torch.randint(levels, (20, *architecture.shape), dtype=torch.uint8)
    metadata["dataset"] = dataset
    save_images(project.folder / "data/test.safetensors", images, labels, metadata)
    kl = [dimension * 7 % 40 / 10 for dimension in range(architecture.latent_dim)]
    rows = [{"dimension": i, "kl": kl, "variance_of_mean": kl} for i, kl in enumerate(kl)]
    write_csv(project.folder / "plots/units.csv", rows)


@pytest.fixture(scope="session")
def reported(reproduced, tmp_path_factory):
    """A project with the model of that name, committed, and its page. Tests share it."""
    made = {}
    with contextlib.chdir(reproduced.folder):
        experiments = dvc.api.exp_show()  # of each, too; to list them takes DVC seconds

    def reported(name: str) -> Project:
        if name not in made:
            made[name] = reproduced.copied(tmp_path_factory.mktemp(name) / "project")
            give_model(made[name], *MODELS[name])
            made[name].run("git", "commit", "-qam", "units")
            with patch.object(dvc.api, "exp_show", lambda **_: experiments):
                report(made[name])
        return made[name]

    return reported
