"""The model, its posterior and its file."""

import json
import resource

import pytest
import torch

from tests.models import POSTERIORS, random_images, small_vae
from vae import VAE
from vae.common.errors import UserError
from vae.common.files import save_tensors
from vae.data.images import Images
from vae.evaluation.bounds import evaluate
from vae.model import NETWORKS, PRIORS
from vae.model.architecture import PIXELS


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("extreme", [-1e30, -1e4, -100.0, 0.0, 100.0, 1e4, 1e30])
def test_std_is_positive_and_finite_whatever_the_network_says(posterior, extreme):
    model = small_vae(posterior=posterior, latent_dim=2).float()
    model._run = lambda network, x: torch.full((1, model.architecture.outputs), extreme)
    q = model.posterior(torch.zeros(1, PIXELS))
    mean, std, log_std = q.gaussian
    assert (std > 0).all()
    assert std.isfinite().all()
    assert log_std.isfinite().all()
    torch.testing.assert_close(std.log(), log_std, rtol=1e-5, atol=2e-6)
    if posterior == "bounded":
        assert (std <= 1).all()
        assert (mean.abs() <= 1).all()


@pytest.mark.parametrize("intensities", [False, True])
def test_decoder_bias_log_odds_starts_at_how_often_each_pixel_is_set(intensities):
    top = 255 if intensities else 1
    pixels = torch.zeros(200, PIXELS, dtype=torch.uint8)
    pixels[:50, 0], pixels[:, 1] = top, top
    biases = Images(pixels, torch.zeros(200), intensities, "MNIST", "stochastic").log_odds()
    expected = torch.tensor([50.5 / 201, 200.5 / 201] + [0.5 / 201] * (PIXELS - 2))
    torch.testing.assert_close(biases.sigmoid(), expected)


@pytest.mark.parametrize("network", list(NETWORKS))
@pytest.mark.parametrize("prior", list(PRIORS))
@torch.no_grad()
def test_a_saved_model_gives_the_same_outputs(tmp_path, network, prior):
    model = small_vae(network=network, prior=prior).float()
    model.save(tmp_path / "vae.safetensors")
    loaded = VAE.load(tmp_path / "vae.safetensors")
    assert loaded.architecture == model.architecture
    x = random_images(5)
    for mine, its in zip(loaded.encode(x), model.encode(x), strict=True):
        assert torch.equal(mine, its)
    assert torch.equal(loaded.reconstruct(x), model.reconstruct(x))
    samples = [m.sample(4, torch.Generator().manual_seed(0)) for m in (model, loaded)]
    assert torch.equal(*samples)
    assert samples[0].shape == (4, 28, 28)


def test_the_same_model_gives_the_same_bytes(tmp_path):
    for index in range(5):
        small_vae().save(tmp_path / f"{index}.safetensors")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


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
        (b"[20, 10]", b"[20, 11]"), (b"gaussian", b"gaussien"), (b"latent", b"latant"),
        (b"mlp", b"nlp"), (b"standard", b"standart"),
    ]:  # fmt: skip
        path.write_bytes(content.replace(old, new))
        with pytest.raises(UserError, match="does not hold a VAE"):
            VAE.load(path)


@pytest.mark.parametrize("posterior", POSTERIORS)
@torch.no_grad()
def test_the_log_likelihood_of_a_batch_is_the_bound_that_evaluation_measures(posterior):
    model, x = small_vae(posterior=posterior).float(), random_images(9).unflatten(1, (28, 28))
    bounds = model.log_likelihood(x, 20, torch.Generator().manual_seed(0))
    result = evaluate(model, x.flatten(1), 0, 20, torch.Generator().manual_seed(0))
    assert bounds.shape == (9,)
    torch.testing.assert_close(bounds, result.log_likelihood)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(3, 32, 32), r"images of shape \(3, 32, 32\): should be \[N, 28, 28\] or"),
        (torch.zeros(28, 28), r"images of shape \(28, 28\)"),
        (torch.zeros(784), r"images of shape \(784,\)"),
        (torch.full((3, 784), 0.5), "a pixel is 0.5: should be 0 or 1.*threshold 128"),
        (torch.full((3, 28, 28), 255, dtype=torch.uint8), "a pixel is 255"),
        (torch.full((3, 784), torch.nan), "a pixel is nan"),
        (torch.full((3, 784), 1j), "images are complex"),
        ([["a"]], "no array of images"),
    ],
)
@pytest.mark.parametrize("use", ["encode", "reconstruct", "log_likelihood"])
def test_anything_but_a_batch_of_binary_images_is_refused(images, words, use):
    model = small_vae().float()
    model.binarization = "threshold 128"
    with pytest.raises(ValueError, match=words):
        getattr(model, use)(images)


def test_latents_of_another_dimension_are_refused():
    with pytest.raises(ValueError, match=r"latents of shape \(4, 2\): should be \[..., 3\]"):
        small_vae().decode(torch.zeros(4, 2))


def test_arrays_and_lists_are_accepted_as_images():
    model, x = small_vae().float(), random_images(2)
    expected = model.reconstruct(x)
    for images in x.numpy(), x.tolist(), x.bool().numpy():
        torch.testing.assert_close(model.reconstruct(images), expected)


def test_a_negative_count_and_no_draws_are_refused():
    model = small_vae().float()
    with pytest.raises(ValueError, match="count = -1: should not be negative"):
        model.sample(-1)
    with pytest.raises(ValueError, match="draws = 0: should be at least 1"):
        model.log_likelihood(random_images(2), draws=0)
    assert model.sample(0).shape == (0, 28, 28)


def test_a_small_file_that_claims_to_be_large_takes_no_memory(tmp_path):
    path = tmp_path / "vae.safetensors"
    architecture = {"hidden_dims": [20_000, 20_000], "latent_dim": 2, "posterior": "gaussian"}
    metadata = {"architecture": json.dumps(architecture), "dataset": "", "binarization": ""}
    save_tensors(path, {"x": torch.zeros(1)}, metadata)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="do not have the shapes of its architecture"):
        VAE.load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000  # kB
