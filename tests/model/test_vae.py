"""The model as its users see it, and its file."""

import json
import resource

import numpy as np
import pytest
import torch

from tests.models import architecture, prepared, random_images, small_vae
from vae import VAE
from vae.errors import UserError
from vae.evaluation.bounds import evaluate
from vae.files import save_tensors
from vae.model import LIKELIHOODS, NETWORKS, POSTERIORS, PRIORS
from vae.model.networks.mlp import Layers

COLOUR = (3, 8, 12)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize(
    ("posterior", "likelihood"), [*zip(POSTERIORS, [*LIKELIHOODS, "bernoulli"], strict=True)]
)
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
        lambda m: m.decode(np.zeros((5, 3))),
    ]:
        mine, its = np.asarray(use(model)), np.asarray(use(loaded))
        assert (mine == its).all()
        assert len(mine) == 5
        assert np.isfinite(mine).all()
    for images in model.reconstruct(pixels), model.sample(5), model.sample(5, pixels=True):
        assert images.shape == (5, *COLOUR)
        assert 0 <= images.min() < images.max() <= 1
    assert model.decode(torch.zeros(4, 5, 3)).shape[:2] == (4, 5)


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
    assert torch.equal(model.encode(levels.numpy()).mean, model.posterior(expected).mean)
    if top == 1:
        assert torch.equal(model.inputs(levels.bool().numpy()), expected)
    colours = small_vae(shape=COLOUR).float()
    pixels = prepared(4, COLOUR).pixels
    assert torch.equal(colours.inputs(pixels.flatten(1)), pixels.float())
    with pytest.raises(ValueError, match=r"should be \[N, 3, 8, 12\] or \[N, 288\]$"):
        colours.encode(pixels[:, 0])


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (
            torch.zeros(3, 32, 32),
            r"of shape \(3, 32, 32\): should be \[N, 1, 8, 8\] or \[N, 64\] or",
        ),
        (torch.zeros(8, 8), r"images of shape \(8, 8\)"),
        (torch.zeros(64), r"images of shape \(64,\)"),
        (torch.eye(64)[:1] / 2, "a pixel is 0.5: should be one of 2 levels.*threshold 128"),
        (
            torch.full((3, 8, 8), 255, dtype=torch.uint8),
            "a pixel is 255: .* integer from 0 to 1 or",
        ),
        (torch.eye(64).mul(-1).long()[:1], "a pixel is -1: "),  # just one of them
        (torch.full((3, 64), torch.nan), "a pixel is nan"),
        (torch.full((3, 64), 1j), "images are complex"),
        ([["a"]], "no array of images"),
    ],
)
@pytest.mark.parametrize("use", ["encode", "reconstruct", "log_likelihood"])
def test_anything_but_a_batch_of_images_of_the_levels_is_refused(images, words, use):
    model = small_vae().float()
    model.binarization = "threshold 128"
    with pytest.raises(ValueError, match=words):
        getattr(model, use)(images)


def test_other_shapes_counts_and_draws_are_refused():
    model = small_vae().float()
    with pytest.raises(ValueError, match=r"latents of shape \(4, 2\): should be \[..., 3\]"):
        model.decode(torch.zeros(4, 2))
    with pytest.raises(ValueError, match="count = -1: should not be negative"):
        model.sample(-1)
    with pytest.raises(ValueError, match="draws = 0: should be at least 1"):
        model.log_likelihood(random_images(2), draws=0)
    assert model.sample(0).shape == (0, 1, 8, 8)


@pytest.mark.parametrize("count", [1, 16, 32])
def test_a_seed_gives_the_same_images_whatever_their_number(count):
    samples = [small_vae().float().sample(n, torch.Generator().manual_seed(0)) for n in (count, 32)]
    assert torch.equal(samples[0], samples[1][:count])


@pytest.mark.parametrize("posterior", POSTERIORS)
@torch.no_grad()
def test_the_log_likelihood_of_a_batch_is_the_bound_that_evaluation_measures(posterior):
    model, pixels = small_vae(posterior=posterior).float(), prepared(9).pixels
    bounds = model.log_likelihood(pixels, 20, torch.Generator().manual_seed(0))
    result = evaluate(model, pixels, 0, 20, torch.Generator().manual_seed(0))
    torch.testing.assert_close(bounds, result.log_likelihood)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 4, 8), (1, 5, 7), (1, 1, 1)])
def test_mlps_take_any_size_and_convolutions_multiples_of_four(shape):
    for network in NETWORKS:
        if network == "conv" and (shape[1] % 4 or shape[2] % 4):
            words = rf"images of {shape[1]}×{shape[2]} pixels: .* should be multiples of 4$"
            with pytest.raises(ValueError, match=words):
                VAE(architecture(network, shape=shape))
        else:
            model = VAE(architecture(network, shape=shape, likelihood="logistic"))
            assert model.reconstruct(prepared(2, shape, 256).pixels).shape == (2, *shape)
            assert model.decode(torch.zeros(2, 3)).shape == (2, 15 * shape[0], *shape[1:])


def test_a_hidden_layer_as_wide_as_its_input_may_add_it_to_its_output():
    x = torch.randn(7, 4)
    for residual in False, True:
        first, second, third = [*(layers := Layers(4, 4, 5, 5, residual=residual))][::2]
        hidden = first(x).relu() + residual * x
        torch.testing.assert_close(layers(x), third(second(hidden).relu()))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"network": "nlp"}, "unknown network 'nlp' .known: mlp, conv"),
        ({"prior": "a"}, "unknown prior"),
        ({"posterior": "a"}, "unknown posterior"),
        ({"likelihood": "a"}, "unknown likelihood"),
        ({"settings": {"hidden_dims": []}}, "hidden_dims has 0 layers: should be 1 to 100"),
        ({"settings": {"hidden_dims": [1] * 101}}, "hidden_dims has 101 layers"),
        ({"settings": {"hidden_dims": [5, 0]}}, "hidden_dims = 0: should be 1 to 1,000,000"),
        ({"network": "conv", "settings": {"channels": 1_000_001}}, "channels = 1000001: should be"),
    ],
)
def test_architectures_that_cannot_be_are_refused(parts, words):
    with pytest.raises(ValueError, match=words):
        VAE(architecture(**parts))
    for hidden_dims in [1], [1] * 100:  # which can
        VAE(architecture(settings={"hidden_dims": hidden_dims}))


def test_a_file_that_holds_no_model_is_named(tmp_path):
    path = tmp_path / "vae.safetensors"
    with pytest.raises(UserError, match="is missing"):
        VAE.load(path)
    path.write_bytes(b"<html>not a model</html>")
    with pytest.raises(UserError, match="damaged or not a safetensors file"):
        VAE.load(path)
    small_vae().save(path)
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(UserError, match="damaged"):
        VAE.load(path)
    for old, new in [
        (b"[20, 20]", b"[20, 21]"), (b"gaussian", b"gaussien"), (b"latent", b"latant"),
        (b"mlp", b"nlp"), (b"standard", b"standart"), (b"bernoulli", b"bernoully"),
    ]:  # fmt: skip
        path.write_bytes(content.replace(old, new))
        with pytest.raises(UserError, match="does not hold a VAE"):
            VAE.load(path)
    model = small_vae()
    next(model.parameters()).data[0] = torch.nan
    model.save(path)
    with pytest.raises(UserError, match="some of its weights are not finite"):
        VAE.load(path)


def write(path, described: dict) -> None:
    metadata = {"architecture": json.dumps(described), "dataset": "", "binarization": ""}
    save_tensors(path, {"x": torch.zeros(1)}, metadata)


def test_a_file_of_an_earlier_version_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "vae.safetensors"
    write(path, {"hidden_dims": [512, 64], "latent_dim": 12, "posterior": "bounded"})
    with pytest.raises(UserError) as refused:
        VAE.load(path)
    first, second = str(refused.value).splitlines()
    assert first.endswith("does not hold a VAE of this project (an earlier version wrote it).")
    assert second == "Delete it and train again: dvc repro"


def test_a_small_file_that_claims_to_be_large_takes_no_memory(tmp_path):
    path, large = tmp_path / "vae.safetensors", {"hidden_dims": [20_000, 20_000]}
    write(path, {"shape": [1, 8, 8], "latent_dim": 2, "settings": large})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="do not have the shapes of its architecture"):
        VAE.load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000  # kB
