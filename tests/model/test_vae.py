"""The model as its users see it, and its file."""

import json
import resource
from itertools import product

import numpy as np
import pytest
import torch

from tests.models import FLAT, architecture, prepared, random_images, small_vae
from vae import VAE
from vae.errors import UserError
from vae.files import save_tensors
from vae.model import LIKELIHOODS, PRIORS

COLOUR = (3, 8, 12)


@pytest.mark.parametrize(
    ("posterior", "network"), [*product(FLAT, ["mlp", "conv"]), ("ladder", "levels")]
)
@pytest.mark.parametrize(("prior", "likelihood"), [*product(PRIORS, LIKELIHOODS)])
def test_a_saved_model_gives_the_same_outputs(tmp_path, network, prior, posterior, likelihood):
    parts = {"network": network, "prior": prior, "posterior": posterior, "likelihood": likelihood}
    model = small_vae(**parts, shape=COLOUR).float()
    model.dataset = "pictures"
    for path in tmp_path / "vae.safetensors", tmp_path / "again.safetensors":
        model.save(path)
    assert path.read_bytes() == (tmp_path / "vae.safetensors").read_bytes()
    loaded = VAE.load(path)
    assert (loaded.architecture, loaded.dataset) == (model.architecture, "pictures")
    pixels = prepared(5, COLOUR, model.likelihood.levels).pixels
    for use in [
        lambda m: m.encode(pixels).mean,
        lambda m: m.encode(pixels).std,
        lambda m: m.reconstruct(pixels),
        lambda m: m.log_likelihood(pixels, 3, torch.Generator().manual_seed(0)),
        lambda m: m.sample(5, torch.Generator().manual_seed(0)),
        lambda m: m.sample(5, torch.Generator().manual_seed(0), pixels=True),
        lambda m: m.decode(np.zeros((5, m.architecture.latent_dim))),
    ]:
        mine, its = np.asarray(use(model)), np.asarray(use(loaded))
        assert (mine == its).all()
        assert len(mine) == 5
        assert np.isfinite(mine).all()
    for images in model.reconstruct(pixels), model.sample(5), model.sample(5, pixels=True):
        assert images.shape == (5, *COLOUR)
        assert 0 <= images.min() < images.max() <= 1
    assert model.decode(torch.zeros(4, 5, model.architecture.latent_dim)).shape[:2] == (4, 5)
    fewer, more = (model.sample(count, torch.Generator().manual_seed(0)) for count in (16, 32))
    assert torch.equal(fewer, more[:16])


@pytest.mark.parametrize("likelihood", ["bernoulli", "logistic"])
def test_images_are_taken_as_levels_and_as_floats_in_every_shape(likelihood):
    model = small_vae(likelihood=likelihood).float()
    top = model.likelihood.levels - 1
    levels = prepared(4, levels=top + 1).pixels
    expected = model.inputs(levels)
    assert torch.equal(expected, levels.float() / top)
    assert torch.equal(model.scaled(levels), expected)
    floats = levels / top  # as torchvision's ToTensor gives them
    for images in levels, floats, floats.double(), levels.long():
        for shaped in images, images.squeeze(1), images.flatten(1):
            for its in shaped, shaped.numpy(), shaped.tolist():
                assert torch.equal(model.inputs(its), expected)
    colours, pixels = small_vae(shape=COLOUR).float(), prepared(4, COLOUR).pixels
    assert torch.equal(colours.inputs(pixels.flatten(1)), pixels.float())
    with pytest.raises(ValueError, match=r"should be \[N, 3, 8, 12\] or \[N, 288\]$"):
        colours.encode(pixels[:, 0])


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda m: m.encode(torch.zeros(8, 8)), r"\(8, 8\): should be \[N, 1, 8, 8\] or \[N, 64\]"),
        (lambda m: m.reconstruct(torch.eye(64)[:1] / 2), "0.5: should be one of 2 .*threshold 128"),
        (lambda m: m.encode(torch.eye(64).mul(-1).long()[:1]), "-1: .* integer from 0 to 1 or"),
        (lambda m: m.log_likelihood(torch.full((3, 64), torch.nan)), "a pixel is nan"),
        (lambda m: m.encode(torch.full((3, 64), 1j)), "images are complex"),
        (lambda m: m.encode([["a"]]), "no array of images"),
        (lambda m: m.decode(torch.zeros(4, 2)), r"latents of shape \(4, 2\): should be \[..., 3\]"),
        (lambda m: m.sample(-1), "count = -1: should not be negative"),
        (lambda m: m.log_likelihood(random_images(2), draws=0), "draws = 0: should be at least 1"),
        *(
            (lambda _, part=part: VAE(architecture(**{part: "a"})), f"unknown {part}")
            for part in ("network", "likelihood", "posterior", "prior")
        ),
    ],
)
def test_images_latents_counts_and_parts_that_cannot_be_are_refused(use, words):
    model = small_vae().float()
    model.binarization = "threshold 128"
    with pytest.raises(ValueError, match=words):
        use(model)


def test_a_file_that_claims_what_it_does_not_hold_is_refused_in_no_memory(tmp_path):
    path, settings = tmp_path / "vae.safetensors", {"hidden_dims": [20_000, 20_000]}
    architecture = json.dumps({"shape": [1, 8, 8], "latent_dim": 2, "settings": settings})
    metadata = {"architecture": architecture, "dataset": "", "binarization": ""}
    save_tensors(path, {"x": torch.zeros(1)}, metadata)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"do not have the shapes of its architecture"):
        VAE.load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000  # kB
