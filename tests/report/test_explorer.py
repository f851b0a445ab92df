"""The latent explorer draws what Python's decoder does, by slider, square, button and key."""

import re

import pytest
import torch

from tests.project import Project
from tests.report.conftest import MODELS, model_of, settled
from vae.images import load_images


def mean_of(project: Project, label: int) -> list[float]:
    """The posterior mean of the first test image of a class, as the decoder takes it."""
    test = load_images(project.folder / "data/test.safetensors")
    model, labels = model_of(project), test.labels[test.labels == label]
    q = model.encode(test.pixels[test.labels == label], labels if model.classes else None)
    return model.with_classes(q.mean, labels)[0].tolist()


def latents(page) -> list[float]:
    settled(page)
    return page.evaluate("explorer.latents()")


def painted(page, canvas: str) -> torch.Tensor:
    """The canvas's pixels in 0..255: [red, green, blue and alpha, height, width]."""
    settled(page)
    height, width, pixels = page.evaluate(
        """(id) => {
          const { width, height } = document.getElementById(id);
          const context = document.getElementById(id).getContext("2d");
          return [height, width, [...context.getImageData(0, 0, width, height).data]];
        }""",
        canvas,
    )
    return torch.tensor(pixels).view(height, width, 4).permute(2, 0, 1)


def decoded(project: Project, z: list[float]) -> torch.Tensor:
    """The mean image as red, green and blue in 0..255, by torch."""
    return 255 * model_of(project).mean_images(z).expand(3, -1, -1)


@pytest.mark.parametrize("name", MODELS)
def test_the_image_is_the_python_decoders(visit, reported, name):
    project = reported(name)
    page = visit(project)

    def shown() -> torch.Tensor:
        *colours, alpha = painted(page, "image")
        assert alpha.eq(255).all()
        return torch.stack(colours)

    page.locator("#classes").get_by_role("button", name="0").click()
    z = mean_of(project, 0)
    assert latents(page) == pytest.approx(z, abs=1e-6)
    before = shown()
    assert decoded(project, z).std() > 30  # a picture
    assert (before - decoded(project, z)).abs().max() <= 1
    for dimension, value in (3, 1.5), (7, -2.0):
        page.locator(f"#z{dimension}").fill(str(value))
        z[dimension] = value
    assert latents(page) == pytest.approx(z, abs=1e-6)
    assert (shown() - decoded(project, z)).abs().max() <= 1
    assert (shown() - before).abs().max() > 10


def test_sliders_are_the_most_informative_first_and_far_enough(visit, reported):
    page = visit(reported("mixture"))
    names = page.locator("#sliders label > span").all_inner_texts()
    kl = [float(re.fullmatch(r"z\d+ · (\d+\.\d\d) nats", name)[1]) for name in names]
    assert len(kl) == 40
    assert kl == sorted(kl, reverse=True)
    assert names[0] == "z17 · 3.90 nats"
    page.locator("#z17").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert latents(page)[17] == pytest.approx(-5.45)


def test_buttons_go_to_a_class_to_zero_and_to_draws_of_the_models_prior(visit, reported):
    project = reported("mixture")
    page = visit(project)
    page.get_by_role("button", name="7").click()
    assert latents(page) == pytest.approx(mean_of(project, 7), abs=1e-6)
    page.get_by_role("button", name="Zero").click()
    assert latents(page) == [0] * 40
    centres, draws = model_of(project).prior.means.detach(), set()
    for _ in range(5):
        page.get_by_role("button", name="Random image").click()
        draw = torch.tensor(latents(page))
        assert (centres - draw).abs().amax(1).min() < 0.1
        draws.add(tuple(draw.tolist()))
    assert len(draws) > 1


def test_a_conditional_models_latents_stay_when_the_class_changes(visit, reported):
    project = reported("conditional")
    page = visit(project)
    page.reload()
    assert latents(page) == pytest.approx(mean_of(project, 0), abs=1e-6)  # the first test image
    page.get_by_role("group", name="test image of").get_by_role("button", name="4").click()
    latent = mean_of(project, 4)[:12]
    same = page.get_by_role("group", name="The same latents")
    for label in 7, 2:
        same.get_by_role("button", name=str(label)).click()
        assert latents(page) == pytest.approx(
            [*latent, *(float(i == label) for i in range(10))], abs=1e-6
        )
    assert "log p(x|y) ≥" in page.locator("dl").inner_text()


def test_the_square_moves_two_dimensions_by_keys_and_by_pointer(visit, reported):
    page = visit(reported("plain"))
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


def test_the_square_shows_what_the_decoder_draws_there(visit, reported):
    project, rows, columns = reported("colourful"), 11, 7
    page = visit(project)
    page.get_by_role("button", name="Zero").click()
    page.wait_for_timeout(1000)  # it is drawn when z has come to rest
    expected = decoded(project, [0.0] * 12)
    assert expected.std() > 30
    square, (height, width) = painted(page, "map"), expected.shape[1:]
    assert square.shape[1:] == (rows * height, columns * width)
    tile = square.unflatten(2, (columns, width)).unflatten(1, (rows, height))
    assert (tile[:3, rows // 2, :, columns // 2] - expected).abs().max() <= 1


def test_a_narrower_page_has_the_image_beside_or_above_what_moves_it(visit, reported):
    page, boxes = visit(reported("plain")), {}
    for width in 400, 800, 1280:  # the last is what other tests have
        page.set_viewport_size({"width": width, "height": 800})
        boxes[width] = [page.locator(its).bounding_box() for its in ("#image", "#sliders")]
    for width, (image, sliders) in boxes.items():
        assert (sliders["x"] > image["x"] + image["width"]) == (width == 800)
        assert (sliders["y"] > image["y"] + image["height"]) or width == 800
    assert boxes[400][1]["width"] > 350  # of the page's 368
