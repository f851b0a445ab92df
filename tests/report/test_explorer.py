"""The latent explorer draws what Python's decoder does, by slider, square, button and key."""

import itertools
import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from report.program import CannotRun, program
from tests.project import Project
from tests.report.conftest import model_of, settled
from vae.data.images import load_images


def mean_of(project: Project, label: int) -> list[float]:
    """The posterior mean of the first test image of a class."""
    test = load_images(project.folder / "data/test.safetensors")
    with torch.no_grad():
        means = model_of(project).encode(test.pixels[test.labels == label]).mean
    return means[0].tolist()


def latents(page) -> list[float]:
    settled(page)
    return page.evaluate("explorer.latents()")


def shown(page) -> torch.Tensor:
    """The pixels that the page shows, [784] in 0..255."""
    settled(page)
    pixels = page.evaluate(
        "[...document.getElementById('image').getContext('2d').getImageData(0, 0, 28, 28).data]"
    )
    red, green, blue, alpha = torch.tensor(pixels).view(784, 4).T
    assert red.equal(green)
    assert red.equal(blue)
    assert alpha.eq(255).all()
    return red


def decoded(project: Project, z: list[float]) -> torch.Tensor:
    with torch.no_grad():
        return 255 * model_of(project).decode(torch.tensor(z)).sigmoid()


def test_the_image_is_the_python_decoders(visit, each):
    page = visit(each)
    page.get_by_role("button", name="0", exact=True).click()
    z = mean_of(each, 0)
    before = shown(page)
    assert decoded(each, z).std() > 30  # a picture
    assert (before - decoded(each, z)).abs().max() <= 1
    for dimension, value in (3, 1.5), (7, -2.0):
        page.locator(f"#z{dimension}").fill(str(value))
        z[dimension] = value
    assert latents(page) == pytest.approx(z, abs=1e-6)
    assert (shown(page) - decoded(each, z)).abs().max() <= 1
    assert (shown(page) - before).abs().max() > 10


def test_the_page_opens_with_a_test_image_of_the_first_class(visit, unusual):
    page = visit(unusual, 360)  # whose explorer no other test moves
    assert latents(page) == pytest.approx(mean_of(unusual, 0), abs=1e-6)


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


def test_buttons_go_to_a_class_to_zero_and_to_draws_of_the_models_prior(visit, large):
    page = visit(large)
    page.get_by_role("button", name="7").click()
    assert latents(page) == pytest.approx(mean_of(large, 7), abs=1e-6)
    page.get_by_role("button", name="Zero").click()
    assert latents(page) == [0] * 40
    centres, draws = model_of(large).prior.means.detach(), set()
    for _ in range(5):
        page.get_by_role("button", name="Random image").click()
        draw = torch.tensor(latents(page))
        assert (centres - draw).abs().amax(1).min() < 0.1
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


def test_the_square_shows_what_the_decoder_draws_there_with_labels_apart(visit, plain):
    page = visit(plain)
    page.get_by_role("button", name="Zero").click()
    page.wait_for_timeout(1000)  # it is drawn when z has come to rest
    pixels = page.evaluate(
        "[...document.getElementById('map').getContext('2d').getImageData(112, 112, 28, 28).data]"
    )
    expected = decoded(plain, [0.0] * 12)
    assert expected.std() > 30
    assert (torch.tensor(pixels).view(784, 4)[:, 3] - expected).abs().max() <= 1
    marks = page.locator("#pad span:not(#knob)").evaluate_all(
        "(marks) => marks.map((mark) => [parseFloat(mark.style.left), parseFloat(mark.style.top)])"
    )
    assert len(marks) == 10
    nearest = min(math.dist(a, b) for a, b in itertools.combinations(marks, 2))
    assert nearest > 6  # percent of the square, which is 300 pixels wide


def test_thirty_frames_a_second(visit, convolutional):
    seconds, frames, drawings = visit(convolutional).evaluate(
        """new Promise((done) => {
          let frames = 0, drawings = 0;
          const canvas = CanvasRenderingContext2D.prototype, draw = canvas.putImageData;
          canvas.putImageData = function (...all) { drawings++; draw.apply(this, all); };
          const began = performance.now();
          requestAnimationFrame(function frame(now) {
            if (now - began > 1000) {
              canvas.putImageData = draw;
              return done([(now - began) / 1000, frames, drawings]);
            }
            frames++;
            for (let i = 0; i < 3; i++)  // several changes, one drawing
              explorer.set(explorer.latents().map(() => 2 * Math.random() - 1));
            requestAnimationFrame(frame);
          });
        })"""
    )
    print(f"{drawings / seconds:.1f} frames a second")
    assert drawings / seconds >= 30
    assert drawings <= frames


class Decoder(nn.Module):
    """A linear layer from 3 dimensions to an image, followed by `rest`."""

    def __init__(self, rest):
        super().__init__()
        self.linear, self.rest, self.scale = nn.Linear(3, 784), rest, nn.Parameter(torch.ones(784))

    def forward(self, z):
        return self.rest(self, self.linear(z))


@pytest.mark.parametrize(
    ("rest", "kinds"),
    [
        (lambda self, x: F.relu(x) + torch.relu(x), ["gather", "relu", "relu", "add"]),
        (lambda self, x: x.view(x.size(0), 1, -1).relu().flatten(1), ["gather", "relu"]),
        (lambda self, x: x + x, ["gather", "add"]),
    ],
)
def test_an_operation_is_known_as_a_function_and_as_a_method(rest, kinds):
    assert [step["kind"] for step in program(Decoder(rest), 3)] == kinds


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (lambda self, x: x.tanh(), "operation tanh"),
        (lambda self, x: x + 1, "operation add"),
        (lambda self, x: x + self.scale, "operation scale"),
        (lambda self, x: torch.add(x, x, alpha=2), "operation add"),
        (lambda self, x: F.relu(x, inplace=True) + x, "operation relu"),
        (lambda self, x: torch.cat(x.chunk(2, 1), 1), "operation chunk"),
        (lambda self, x: x if x.sum() > 0 else x + x, "cannot list its operations .* control flow"),
    ],
)
def test_any_other_operation_is_named(rest, reason):
    with pytest.raises(CannotRun, match=reason):
        program(Decoder(rest), 3)


@pytest.mark.parametrize(
    "options", [{"groups": 2}, {"dilation": 2}, {"padding": "same"}, {"padding_mode": "circular"}]
)
def test_a_convolution_of_another_kind_is_named(options):
    layers = nn.Linear(3, 196), nn.Unflatten(1, (4, 7, 7)), nn.Conv2d(4, 16, 3, **options)
    with pytest.raises(CannotRun, match=r"operation Conv2d\(4, 16, .*" + next(iter(options))):
        program(nn.Sequential(*layers), 3)


def test_a_layer_that_is_run_on_several_rows_is_named():
    rows = nn.Unflatten(1, (4, 3)), nn.Flatten(0, 1)
    with pytest.raises(CannotRun, match=r"operation Linear\(in_features=3, out_features=196"):
        program(nn.Sequential(nn.Linear(3, 12), *rows, nn.Linear(3, 196)), 3)
