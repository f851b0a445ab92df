"""The page that `make report` writes, in a real browser (Chromium, where there is one)."""

import json
import re
import shutil

import dvc.api
import pytest
import torch
from playwright.sync_api import sync_playwright

from report.__main__ import main
from report.experiments import select
from stages.dataset import load_images
from stages.errors import UserError
from stages.files import write_csv
from stages.vae import VAE, Architecture
from tests.conftest import Project

BROWSERS = "chromium", "chromium-browser", "google-chrome"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
INPUTS = [
    "metrics/test.json", "plots/training.csv", "plots/splits.csv", "plots/bounds.csv",
    "plots/units.csv", "plots/samples.png", "models/vae.safetensors", "data/test.safetensors",
]  # fmt: skip
IMAGE = "<img src=x onerror=alert(1)>"


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


def mean_of(project: Project, label: int) -> list[float]:
    """The posterior mean of the first test image of a class."""
    test = load_images(project.folder / "data/test.safetensors")
    with torch.no_grad():
        means = model_of(project).encode(test.pixels[test.labels == label])[0]
    return means[0].tolist()


def settled(page) -> None:
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def latents(page) -> list[float]:
    settled(page)
    return page.evaluate("explorer.latents()")


def shown(page) -> torch.Tensor:
    settled(page)
    pixels = page.evaluate(
        "[...document.getElementById('digit').getContext('2d').getImageData(0, 0, 28, 28).data]"
    )
    red, green, blue, alpha = torch.tensor(pixels).view(784, 4).T
    assert red.equal(green)
    assert red.equal(blue)
    assert alpha.eq(255).all()
    return red


def decoded(project: Project, z: list[float]) -> torch.Tensor:
    with torch.no_grad():
        return 255 * model_of(project).decode(torch.tensor(z)).sigmoid()


def test_the_digit_is_the_python_decoders(visit, either):
    page = visit(either)
    z = mean_of(either, 0)
    before = shown(page)
    assert decoded(either, z).std() > 30  # a picture
    assert (before - decoded(either, z)).abs().max() <= 1
    for dimension, value in (3, 1.5), (7, -2.0):
        page.locator(f"#z{dimension}").fill(str(value))
        z[dimension] = value
    assert latents(page) == pytest.approx(z, abs=1e-6)
    assert (shown(page) - decoded(either, z)).abs().max() <= 1
    assert (shown(page) - before).abs().max() > 10


def test_sliders_are_the_most_informative_first_and_far_enough(visit, large):
    page = visit(large)
    names = page.locator("#sliders label > span").all_inner_texts()
    kl = [float(re.fullmatch(r"z\d+ · (\d+\.\d\d) nats", name)[1]) for name in names]
    assert len(kl) == 40
    assert kl == sorted(kl, reverse=True)
    assert names[0] == "z17 · 3.90 nats"
    slider = page.locator("#z17")
    assert (float(slider.get_attribute("min")), float(slider.get_attribute("max"))) == (-5.5, 5.5)
    slider.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert latents(page)[17] == pytest.approx(-5.45)
    assert page.locator("label", has=slider).locator("output").inner_text() == "−5.45"


def test_buttons_go_to_zero_to_a_class_and_to_draws_of_the_models_prior(visit, large):
    page = visit(large)
    page.get_by_role("button", name="7").click()
    assert latents(page) == pytest.approx(mean_of(large, 7), abs=1e-6)
    page.get_by_role("button", name="Zero").click()
    assert latents(page) == [0] * 40
    draws = set()
    for _ in range(5):
        page.get_by_role("button", name="Random digit").click()
        draw = torch.tensor(latents(page))
        assert (draw.abs() - 5).abs().max() < 0.1
        assert (shown(page) - decoded(large, draw.tolist())).abs().max() <= 1
        draws.add(tuple(draw.tolist()))
    assert len(draws) > 1


def test_the_square_moves_two_dimensions_by_keys_and_by_pointer(visit, plain):
    page = visit(plain)
    page.get_by_label("Across").select_option("4")
    page.get_by_label("Upwards").select_option("9")
    page.get_by_role("button", name="Zero").click()
    reach = float(page.locator("#z4").get_attribute("max"))
    pad = page.locator("#pad")
    pad.focus()
    for key in "ArrowRight", "ArrowRight", "ArrowDown":
        page.keyboard.press(key)
    expected = [0.0] * 12
    expected[4], expected[9] = reach / 15, -reach / 30
    assert latents(page) == pytest.approx(expected, abs=1e-6)
    assert pad.get_attribute("aria-valuetext") == f"z4 {reach / 15:.2f}, z9 −{reach / 30:.2f}"

    box = pad.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 3 / 4, box["y"] + box["height"] / 4)
    page.mouse.up()
    page.mouse.move(box["x"], box["y"])
    expected[4], expected[9] = reach / 2, reach / 2
    assert latents(page) == pytest.approx(expected, abs=0.02)
    page.get_by_label("Across").select_option("9")  # the other gives way
    settled(page)
    assert page.get_by_label("Upwards").input_value() == "4"


def test_thirty_frames_a_second(visit, large):
    frames = visit(large).evaluate(
        """new Promise((done) => {
          let drawn = 0;
          const canvas = CanvasRenderingContext2D.prototype, draw = canvas.putImageData;
          canvas.putImageData = function (...all) { drawn++; draw.apply(this, all); };
          const began = performance.now();
          requestAnimationFrame(function frame(now) {
            if (now - began > 2000) return done((1000 * drawn) / (now - began));
            for (let i = 0; i < 3; i++)  // several changes, one drawing
              explorer.set(explorer.latents().map(() => 2 * Math.random() - 1));
            requestAnimationFrame(frame);
          });
        })"""
    )
    print(f"{frames:.1f} frames a second")
    assert 30 <= frames <= 150


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
    project.set("train,", f"</script>{IMAGE},", "plots/splits.csv")
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
    assert f"</script>{IMAGE}" in page.locator("#chart-splits .ytick").all_text_contents()
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
          new Image().src = address;
        })""",
        address,
    )
    assert refused == address
    assert "/picture" not in session_server.requests
    page.close()


def test_experiments_that_failed_or_wait_are_listed_without_numbers():
    row = {"Experiment": None, "rev": "workspace", "State": None, "binarization": "stochastic"}
    row |= dict.fromkeys(["elbo", "elbo_stderr", "kl", "log_likelihood"], 1.0)
    row |= dict.fromkeys(["log_likelihood_stderr", "importance_samples", "active_units"], 1.0)
    old = {"metrics/test.json:elbo" if key == "elbo" else key: value for key, value in row.items()}
    rows = [
        row | {"train.epochs": 3.0},
        row | {"rev": "main", "train.epochs": 3.0},  # the same as the workspace
        old | {"rev": "1a", "Experiment": "renamed", "params.yaml:train.epochs": 4.5},
        row | {"rev": "2b", "Experiment": "bad", "elbo": "!", "State": "Failed"},
        row | {"rev": "3c", "Experiment": "nan", "elbo": float("nan")},
        row | {"rev": "main", "kl": 2.0},
    ]
    found = select(rows, ["train.epochs"])
    assert [(one.name, one.state, one.changes) for one in found if not one.metrics] == [
        ("bad", "failed", {}), ("nan", "no metrics", {}),
    ]  # fmt: skip
    assert [(one.name, one.changes) for one in found if one.metrics] == [
        ("workspace", {}), ("renamed", {"train.epochs": "4.5"}), ("main", {}),
    ]  # fmt: skip


@pytest.mark.parametrize("path", INPUTS)
def test_a_missing_or_damaged_input_is_named_and_an_older_page_stays(project, monkeypatch, path):
    monkeypatch.chdir(project.folder)
    page, file = project.folder / "report.html", project.folder / path
    page.write_text("older")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    if path.endswith(".csv"):
        file.write_bytes(content.replace(b"\n", b",more\n").replace(b"-", b"?").replace(b"0", b"?"))
    for reason in "damaged", "missing":
        with pytest.raises(UserError) as error:
            main()
        message = str(error.value)
        assert message.startswith(f"{path} is {reason}")
        assert "dvc repro" in message.splitlines()[-1]
        assert len(message.splitlines()) <= 2
        file.unlink(missing_ok=True)
    assert page.read_text() == "older"


def test_the_command_ends_with_the_message(project):
    (project.folder / "metrics/test.json").unlink()
    done = project.run("python", "-m", "report", check=False)
    message = "error: metrics/test.json is missing.\nMake it: dvc repro\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)


def test_units_of_another_model_are_refused(large, tmp_path, monkeypatch):
    project = copied(large, tmp_path)
    project.run("git", "checkout", "HEAD~", "plots/units.csv")
    monkeypatch.chdir(project.folder)
    with pytest.raises(UserError, match=r"^plots/units.csv is of another model"):
        main()


def test_epochs_are_in_numeric_order_and_other_pictures_shown(project, monkeypatch, visit):
    for name in "epochs/10", "epochs/9", "epochs/draft", "traversals":
        (project.folder / "plots/epochs").mkdir(exist_ok=True)
        shutil.copy(project.folder / "plots/samples.png", project.folder / f"plots/{name}.png")
    shutil.rmtree(project.folder / ".git")
    monkeypatch.chdir(project.folder)
    main()
    page = visit(project)
    assert page.locator(".strip figcaption").all_inner_texts() == ["epoch 9", "epoch 10"]
    assert page.get_by_role("img", name="Traversals").is_visible()
    assert page.get_by_text("There is no Git repository here").is_visible()
    assert page.get_by_text("not in a Git repository").is_visible()


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
