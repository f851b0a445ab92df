"""docs/notebook.ipynb computes what its text says, and is committed with its pictures."""

import base64
import json
import math
import pickle
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.project import ROOT, Project, committed
from vae.evaluation.walks import STEPS

NOTEBOOK = ROOT / "docs/notebook.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
NAMES = "digit images reconstructions samples walk own numbers k means spreads of_test"

# What Jupyter does, as far as the notebook can tell: it runs the cells in one namespace, with the
# working directory on the path, and closes each cell's figures.
RUN = """
import os, pickle, sys
import matplotlib.pyplot as plt

names, target, *cells = sys.argv[1:]
namespace, pictures = {}, []
for cell in cells:
    exec(cell, namespace)
    for number in plt.get_fignums():
        axes = plt.figure(number).axes
        pictures.append([image.get_array().shape for ax in axes for image in ax.get_images()])
    plt.close("all")
exec(cells[0], namespace)  # again, which must not leave the folder
computed = {name: namespace[name] for name in names.split()}
with open(target, "wb") as file:
    pickle.dump(computed | {"folder": os.getcwd(), "pictures": pictures}, file)
"""


def computed_in(project: Project, target: Path) -> dict[str, Any]:
    """What the notebook's code, run in docs/ where Jupyter starts, computes."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, NAMES, target, *CODE], cwd=project.folder / "docs",
        env=project.env | {"MPLBACKEND": "Agg"}, text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return pickle.loads(target.read_bytes())


@pytest.fixture(scope="module")
def computed(reproduced, tmp_path_factory) -> dict[str, Any]:
    return computed_in(reproduced, tmp_path_factory.mktemp("notebook") / "computed")


def test_the_pictures_and_the_bounds_are_those_that_its_text_describes(computed, reproduced):
    assert computed["folder"] == str(reproduced.folder)
    digit, images, restored, walk = (
        computed[name] for name in ("digit", "images", "reconstructions", "walk")
    )
    assert images.shape == restored.shape == (10, 1, 28, 28)
    assert torch.equal(images[:1], digit)
    assert 0.1 < digit.float().mean() < 0.2
    assert digit[..., 4:24, 4:24].sum() == digit.sum()  # a margin of four pixels, as in MNIST
    torch.testing.assert_close(walk[[0, -1]], restored[:2])  # from the digit to the first image
    assert computed["samples"].std(0).max() > 0.01  # not twenty times the same
    small = (28, 28)
    shown = [[small] * 10, [(280, 280), small], [], [small] * 20, [small] * 20, [small] * STEPS]
    assert computed["pictures"] == [*shown, [], [small] * 10]

    numbers, means, spreads = (computed[name] for name in ("numbers", "means", "spreads"))
    assert len(computed["own"].log_likelihood) == 100
    assert computed["k"] == [1, 10, 100, 500]
    assert means == sorted(means)
    assert means[-1] == pytest.approx(numbers["log_likelihood"], abs=1e-4)
    # With one draw the bound is the ELBO: two estimates of one number.
    error = math.hypot(numbers["elbo_stderr"], spreads[0])
    assert abs(means[0] - numbers["elbo"]) < 4 * error
    # Of copies of one image, the error over copies is the error over draws.
    assert spreads[-1] == pytest.approx(numbers["log_likelihood_stderr"], rel=0.5)
    assert computed["of_test"]["log_likelihood"] > computed["of_test"]["elbo"]


@pytest.mark.slow
def test_it_works_with_a_flow_a_mixture_and_stochastic_pixels(project, stages, tmp_path):
    project.choose("prepare.binarization=stochastic model.posterior=flow model.prior=mixture")
    stages.succeed("prepare", "train")
    computed = computed_in(project, tmp_path / "computed")
    torch.testing.assert_close(computed["walk"][[0, -1]], computed["reconstructions"][:2])


def test_it_uses_the_library_alone_and_needs_nothing_to_make_arrays_of_results():
    imported = set(re.findall(r"^(?:import|from) (\w+)", "\n".join(CODE), re.M))
    assert imported == {"os", "vae", "matplotlib", "numpy", "PIL", "torch"}
    assert not re.search(r"detach|\.numpy\(|no_grad|inference_mode", "\n".join(CODE))
    kinds = [cell["cell_type"] for cell in CELLS]
    assert kinds == ["markdown", "code"] * len(CODE)  # each has its explanation
    for path in re.findall(r"\]\(([^)]+)\)", "".join("".join(cell["source"]) for cell in CELLS)):
        assert (ROOT / "docs" / path).exists(), path


def test_it_is_committed_with_what_the_default_model_gives(computed):
    outputs = [its for cell in CELLS for its in cell.get("outputs", [])]
    assert {its.get("name", "picture") for its in outputs} == {"picture", "stdout"}
    pictures = [its["data"]["image/png"] for its in outputs if "data" in its]
    assert len(pictures) == len(computed["pictures"])
    for picture in pictures:
        assert np.asarray(Image.open(BytesIO(base64.b64decode(picture))).convert("L")).std() > 10
    said = "".join(line for its in outputs for line in its.get("text", []))
    assert "MNIST (1, 28, 28) binarized: threshold 128\n12 latent dimensions" in said
    assert NOTEBOOK.stat().st_size < 300_000
    # Its 100 images are some of those that metrics/test.json measures.
    metrics = json.loads(committed("metrics/test.json"))
    value, stderr = map(float, re.findall(r"log p\(x\) ≥ (\S+) ± (\S+) nats", said)[1])
    assert abs(value - metrics["log_likelihood"]) < 4 * stderr
