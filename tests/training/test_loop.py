"""Steps and epochs of training, and the model that a run returns."""

import math
from dataclasses import replace

import pytest
import torch

from tests.models import new_run, prepared, random_images, small_vae
from vae import VAE
from vae.errors import Refusal, UserError
from vae.model import NETWORKS
from vae.model.objectives import loss
from vae.training.checkpoint import Checkpoint
from vae.training.loop import Diverged, check_sense, fit, train_epoch
from vae.training.steps import Plain


@pytest.mark.parametrize(
    ("network", "decay", "piece"), [("mlp", 0.0, None), ("conv", 0.3, None), ("conv", 0.3, 64)]
)
def test_a_step_is_that_of_torchs_adamw_and_shrinks_matrices_alone(network, decay, piece):
    model, images = {"network": network, "prior": "mixture"}, prepared(20)
    run = new_run(images, model, weight_decay=decay, kl_weight=5)
    run.optimizer.piece = piece  # on a GPU there is one
    reference = new_run(images, model).model
    named = dict(reference.named_parameters())
    shrinks = [name for name in named if "coder" in name and name.endswith("weight")]
    others = [parameter for name, parameter in named.items() if name not in shrinks]
    optimizer = torch.optim.AdamW(
        [{"params": [named[name] for name in shrinks], "weight_decay": decay},
         {"params": others, "weight_decay": 0.0}],
        lr=0.001, foreach=False, fused=False,
    )  # fmt: skip
    for _ in range(3):
        noise = torch.randn(1, 20, reference.architecture.latent_dim)
        progress = torch.tensor(0.0)
        run.step(images.pixels, noise, 0.001, progress)
        optimizer.zero_grad()
        x = reference.scaled(images.pixels)
        loss(reference, x, noise, progress, kl_weight=5)[0].backward()
        optimizer.step()
    for name, parameter in run.model.named_parameters():
        torch.testing.assert_close(parameter, named[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_gradient_in_bfloat16_is_float32s_but_for_its_rounding(network):
    x, gradients = random_images(200).float(), []
    for precision in "float32", "bfloat16":
        model = new_run(prepared(2), {"network": network}, precision=precision).model
        noise = torch.randn(1, 200, model.architecture.latent_dim)
        value, (reconstruction, _) = loss(model, x, noise, torch.tensor(0.0), gradient="stl")
        value.backward()
        assert reconstruction.dtype == torch.float32
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    error = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
    assert 0 < error < 0.02


def test_an_epoch_takes_each_step_at_its_rate_and_progress_and_keeps_each_images_terms():
    images, seen, noises = prepared(50), [], []
    run = new_run(images, batch_size=16, epochs=3, schedule="one_cycle", importance_samples=2)

    class Noted(Plain):
        def __call__(self, pixels, noise, rate, progress):
            noises.append(noise.flatten())
            seen.append((len(pixels), noise.shape, rate.item(), progress.item()))
            return pixels.flatten(1).sum(1) * torch.tensor([[-1.0], [1.0]])

    run.step, stream = Noted(run.model, run.optimizer, run.settings), torch.Generator()
    for epoch in 1, 2, 3:
        terms = train_epoch(run, images.pixels, stream, epoch)
        assert torch.equal(terms[1], images.pixels.flatten(1).sum(1).float())
    assert [(rows, tuple(shape)) for rows, shape, *_ in seen] == 3 * [
        (16, (2, 16, 3)), (16, (2, 16, 3)), (16, (2, 16, 3)), (2, (2, 2, 3)),
    ]  # fmt: skip
    assert [progress for *_, progress in seen] == pytest.approx([step / 12 for step in range(12)])
    up = [0.001 * step / 13 / 0.3 for step in (1, 2, 3)]
    down = [0.001 * (1 - step / 13) / 0.7 for step in range(4, 13)]
    assert [rate for *_, rate, _ in seen] == pytest.approx(up + down)
    # Of 900 numbers: no two images, draws or dimensions share one, as the original's did.
    assert len(torch.cat(noises).unique()) > 890


@pytest.mark.parametrize("keep", ["last", "best"])
def test_the_last_or_the_best_weights_are_handed_over(monkeypatch, keep):
    elbos = iter([-9.0, -5.0, -7.0, -6.0])
    monkeypatch.setattr(
        "vae.training.loop.elbo_at_rest",
        lambda model, pixels, noise: torch.tensor([2 * [next(elbos)], [0.0, 0.0]]),
    )
    run = new_run(prepared(40), epochs=4, keep=keep)
    weight = next(iter(run.model.parameters()))
    weights = [weight.detach().clone() for _ in fit(run, prepared(40), prepared(2))]
    assert torch.equal(weight, weights[3 if keep == "last" else 1])
    assert not torch.equal(weights[3], weights[1])


def test_stochastic_training_pixels_are_drawn_anew_each_epoch_and_reproducibly(monkeypatch):
    grey = replace(prepared(30), intensities=True)
    grey.pixels[:] = 128  # alike: their order does not matter
    seen, place = [], "vae.training.loop.train_epoch"
    monkeypatch.setattr(place, lambda _, pixels, *__: seen.append(pixels) or torch.zeros(2, 30))
    for _ in range(2):
        list(fit(new_run(grey, epochs=15), grey, prepared(30)))
    assert len({its.sum().item() for its in seen[:15]}) > 7
    for first, second in zip(seen[:15], seen[15:], strict=True):
        assert torch.equal(first, second)
        assert first.max() == 1


def test_training_can_start_from_how_often_each_pixel_is_set():
    for levels in 2, 256:
        images = prepared(20, levels=levels)
        model = new_run(images, decoder_bias="log_odds").model
        *_, bias = model.decoder.parameters()
        assert torch.equal(bias, model.likelihood.bias(images).flatten())
        with pytest.raises(UserError, match=r"'log_odds' with model\.network = 'conv'"):
            new_run(images, {"network": "conv"}, decoder_bias="log_odds")


def test_a_model_worse_than_a_guess_has_diverged():
    good, bad = torch.full((4,), -300.0), torch.full((4,), -6000.0)
    model = small_vae(shape=(1, 28, 28))
    check_sense((good, good.abs()), 5.0, model)
    check_sense((good, bad.abs()), 0.0, model)  # a KL that is not trained may be large
    check_sense((bad, good.abs()), 1.0, small_vae(shape=(1, 28, 28), likelihood="logistic"))
    for at_rest in [(bad, good.abs()), (good, bad.abs()), (good * math.nan, good)]:
        with pytest.raises(Diverged, match="a guess at random for each pixel has -543"):
            check_sense(at_rest, 1.0, model)


def test_a_network_that_uses_a_layer_twice_is_saved_and_resumed(monkeypatch, tmp_path):
    monkeypatch.setitem(NETWORKS, "tied", "tests.training.networks:Tied")
    images, checkpoint = prepared(20), Checkpoint(tmp_path / "checkpoint")
    run, again = (new_run(images, {"network": "tied", "settings": {}}) for _ in range(2))
    train_epoch(run, images.pixels, torch.Generator(), 1)
    checkpoint.save(run.state(), [])
    again.restore(*checkpoint.read())
    for its in run, again:
        train_epoch(its, images.pixels, torch.Generator(), 1)
    run.model.save(tmp_path / "model")
    loaded = VAE.load(tmp_path / "model")
    for name, value in run.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value)
        assert torch.equal(loaded.state_dict()[name], value)


def test_a_last_batch_of_one_image_is_refused_where_batches_are_normalized(monkeypatch):
    monkeypatch.setitem(NETWORKS, "averaging", "tests.training.networks:Averaging")
    model = {"network": "averaging", "settings": {}}
    for size in 1, 4:
        with pytest.raises(Refusal, match=rf"batch_size = {size} leaves one of 21 images for the"):
            new_run(prepared(21), model, batch_size=size)
    new_run(prepared(22), model, batch_size=4)


def test_images_that_are_no_levels_or_not_the_models_are_refused():
    images = prepared(4, levels=256)
    for changes, words in [
        ({"pixels": images.pixels / 255}, "torch.float32 of shape .*: should be a tensor of uint8"),
        ({"pixels": images.pixels[:, 0]}, r"of shape \(4, 8, 8\): should be"),
        ({"levels": 2}, r"a pixel is \d+: should be 0 to 1$"),
    ]:
        with pytest.raises(ValueError, match=words):
            replace(images, **changes)
    with pytest.raises(Refusal, match=r"images of \(1, 8, 8\), and the model is for \(1, 8, 12\)"):
        new_run(prepared(4), {"shape": (1, 8, 12)})
