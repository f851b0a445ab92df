"""Steps and epochs of training, and the model that a run returns."""

from dataclasses import replace

import pytest
import torch

from tests.models import params, prepared, random_images, small_vae
from vae.common.errors import UserError
from vae.data.images import Images
from vae.model import NETWORKS
from vae.model.objectives import loss
from vae.training.checkpoint import Checkpoint
from vae.training.loop import fit, update
from vae.training.run import Run


@pytest.mark.parametrize("network", list(NETWORKS))
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_a_step_is_that_of_torchs_adamw_and_shrinks_matrices_alone(network, decay):
    settings = params({"network": network, "prior": "mixture"}, weight_decay=decay)
    run = Run.new(settings, prepared(20))
    reference = Run.new(settings, prepared(20)).model
    named = dict(reference.named_parameters())
    shrinks = [name for name in named if "coder" in name and name.endswith("weight")]
    others = [parameter for name, parameter in named.items() if name not in shrinks]
    optimizer = torch.optim.AdamW(
        [{"params": [named[name] for name in shrinks], "weight_decay": decay},
         {"params": others, "weight_decay": 0.0}],
        lr=0.001, foreach=False, fused=False,
    )  # fmt: skip
    x = random_images(20).float()
    for _ in range(3):
        noise = torch.randn(1, 20, 3)
        update(run, x, noise, 0.001)
        optimizer.zero_grad()
        loss(reference, x, noise, 5.0, "reparameterized")[0].backward()
        optimizer.step()
    for name, parameter in run.model.named_parameters():
        torch.testing.assert_close(parameter, named[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("network", list(NETWORKS))
def test_a_gradient_in_bfloat16_is_float32s_but_for_its_rounding(network):
    x, noise, gradients = random_images(200).float(), torch.randn(1, 200, 3), []
    for precision in torch.float32, torch.bfloat16:
        model = small_vae(network=network, prior="mixture").float()
        model.precision = precision
        value, reconstruction, _ = loss(model, x, noise, 1.0, "stl")
        value.backward()
        assert reconstruction.dtype == torch.float32
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    error = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
    assert 0 < error < 0.02


@pytest.mark.parametrize("keep", ["last", "best"])
def test_the_last_or_the_best_weights_are_handed_over(monkeypatch, keep):
    elbos = iter([-9.0, -5.0, -7.0, -6.0])
    monkeypatch.setattr(
        "vae.training.loop.elbo_at_rest",
        lambda model, pixels, noise: (torch.full((2,), next(elbos)), torch.zeros(2)),
    )
    run, weights = Run.new(params(epochs=4, keep=keep, grids=0), prepared(40)), []
    for _ in fit(run, prepared(40), prepared(2)):
        weights.append(run.model.state_dict()["encoder.0.weight"].clone())
    kept = run.model.state_dict()["encoder.0.weight"]
    assert torch.equal(kept, weights[3 if keep == "last" else 1])
    assert not torch.equal(weights[3], weights[1])


def test_a_run_is_restored_with_all_that_its_next_epochs_depend_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = params(
        {"prior": "mixture", "posterior": "gaussian"},
        epochs=4, keep="best", learning_rate=0.02, kl_weight=1,
    )  # fmt: skip
    images = prepared(100)

    whole = Run.new(settings, images)
    list(fit(whole, images, images))
    stopped, checkpoint = Run.new(settings, images), Checkpoint("name")
    epochs = fit(stopped, images, images)
    for _ in range(2):
        next(epochs)
    checkpoint.save(stopped.state(), stopped.rows)
    resumed = Run.new(settings, images)
    resumed.restore(*checkpoint.read())
    assert len(resumed.rows) == 2
    list(fit(resumed, images, images))
    assert resumed.rows == whole.rows
    mine, its = resumed.state(), whole.state()
    assert set(mine) == set(its)
    assert all(torch.equal(mine[name], its[name]) for name in its)


def test_stochastic_training_pixels_are_drawn_anew_each_epoch_and_reproducibly(monkeypatch):
    def pixels_of_each_epoch() -> list[torch.Tensor]:
        seen = []
        monkeypatch.setattr(
            "vae.training.loop.train_epoch",
            lambda run, pixels, *_: seen.append(pixels) or torch.zeros(2, len(pixels)),
        )
        grey = torch.full((30, 784), 128, dtype=torch.uint8)  # alike: their order does not matter
        images = Images(grey, torch.zeros(30, dtype=torch.uint8), True, "MNIST", "stochastic")
        run = Run.new(params(), images)
        list(fit(run, images, replace(images, pixels=grey // 128, intensities=False)))
        return seen

    epochs = pixels_of_each_epoch()
    assert len({epoch.sum().item() for epoch in epochs}) > len(epochs) // 2
    for first, second in zip(epochs, pixels_of_each_epoch(), strict=True):
        assert torch.equal(first, second)
        assert first.max() == 1


def test_log_odds_need_a_bias_of_each_pixel():
    with pytest.raises(UserError, match=r"'log_odds' with model\.network = 'conv'"):
        Run.new(params({"network": "conv"}, decoder_bias="log_odds"), prepared(20))
