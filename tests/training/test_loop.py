"""Steps and epochs of training, and the model that a run returns."""

import math
from dataclasses import replace

import pytest
import torch

from tests.models import new_run, prepared, random_images, small_vae
from vae.errors import UserError
from vae.model import NETWORKS
from vae.model.objectives import loss
from vae.training.checkpoint import Checkpoint
from vae.training.loop import Diverged, check_finite, check_sense, final_metrics, fit, train_epoch
from vae.training.settings import Settings
from vae.training.steps import Plain


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_a_step_is_that_of_torchs_adamw_and_shrinks_matrices_alone(network, decay):
    model, images = {"network": network, "prior": "mixture"}, prepared(20)
    run = new_run(images, model, weight_decay=decay, kl_weight=5)
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
        noise, progress = torch.randn(1, 20, 3), torch.tensor(0.0)
        run.step(images.pixels, noise, 0.001, progress)
        optimizer.zero_grad()
        x = reference.scaled(images.pixels)
        loss(reference, x, noise, progress, kl_weight=5)[0].backward()
        optimizer.step()
    for name, parameter in run.model.named_parameters():
        torch.testing.assert_close(parameter, named[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_gradient_in_bfloat16_is_float32s_but_for_its_rounding(network):
    x, noise, gradients = random_images(200).float(), torch.randn(1, 200, 3), []
    for precision in "float32", "bfloat16":
        model = new_run(prepared(2), {"network": network}, precision=precision).model
        value, reconstruction, _ = loss(model, x, noise, torch.tensor(0.0), gradient="stl")
        value.backward()
        assert reconstruction.dtype == torch.float32
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    error = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
    assert 0 < error < 0.02


def test_an_epoch_takes_each_step_at_its_rate_and_progress_and_keeps_each_images_terms():
    images, seen = prepared(50), []
    run = new_run(images, batch_size=16, epochs=3, schedule="one_cycle", importance_samples=2)

    class Noted(Plain):
        def __call__(self, pixels, noise, learning_rate, progress):
            seen.append((len(pixels), noise.shape, learning_rate.item(), progress.item()))
            return pixels.flatten(1).sum(1) * torch.tensor([[-1.0], [1.0]])

    run.step = Noted(run.model, run.optimizer, run.settings)
    terms = train_epoch(run, images.pixels, torch.Generator(), 2)
    assert torch.equal(terms[1], images.pixels.flatten(1).sum(1).float())
    assert [(rows, tuple(shape)) for rows, shape, *_ in seen] == [
        (16, (2, 16, 3)), (16, (2, 16, 3)), (16, (2, 16, 3)), (2, (2, 2, 3)),
    ]  # fmt: skip
    assert [progress for *_, progress in seen] == pytest.approx([4 / 12, 5 / 12, 6 / 12, 7 / 12])
    expected = [0.001 * (1 - step / 13) / 0.7 for step in (5, 6, 7, 8)]
    assert [rate for *_, rate, _ in seen] == pytest.approx(expected)


@pytest.mark.parametrize("keep", ["last", "best"])
def test_the_last_or_the_best_weights_are_handed_over(monkeypatch, keep):
    elbos = iter([-9.0, -5.0, -7.0, -6.0])
    monkeypatch.setattr(
        "vae.training.loop.elbo_at_rest",
        lambda model, pixels, noise: (torch.full((2,), next(elbos)), torch.zeros(2)),
    )
    run = new_run(prepared(40), epochs=4, keep=keep)
    weight = next(iter(run.model.parameters()))
    weights = [weight.detach().clone() for _ in fit(run, prepared(40), prepared(2))]
    assert torch.equal(weight, weights[3 if keep == "last" else 1])
    assert not torch.equal(weights[3], weights[1])


def test_a_run_is_restored_with_all_that_its_next_epochs_depend_on(tmp_path, capsys):
    images, parts = prepared(100), {"prior": "mixture", "posterior": "flow"}
    settings = {"epochs": 4, "keep": "best", "learning_rate": 0.02, "grids": 3, "batch_size": 32}
    whole = new_run(images, parts, **settings)
    list(fit(whole, images, images))
    assert list(whole.grids) == [2, 3, 4]
    assert all(grid.max() > 0 for grid in whole.grids.values())
    columns = "epoch train_elbo validation_elbo train_reconstruction validation_reconstruction"
    assert list(whole.rows[0]) == [*columns.split(), "train_kl", "validation_kl"]
    stopped, checkpoint = new_run(images, parts, **settings), Checkpoint(tmp_path / "state")
    assert checkpoint.read() is None
    epochs = fit(stopped, images, images)
    for _ in range(2):
        next(epochs)
    checkpoint.save(stopped.state(), stopped.rows)
    resumed = new_run(images, parts, **settings)
    resumed.restore(*checkpoint.read())
    assert len(resumed.rows) == 2
    list(fit(resumed, images, images))
    assert resumed.rows == whole.rows
    mine, its = resumed.state(), whole.state()
    assert set(mine) == set(its)
    assert all(torch.equal(mine[name], its[name]) for name in its)
    final = final_metrics(whole.model, 0, images, images)
    assert final["train"] != final["validation"]  # of the same images at other draws
    assert final["train"]["elbo"] == pytest.approx(final["validation"]["elbo"], rel=0.02)
    assert final["train"]["elbo"] > whole.rows[0]["train_elbo"]
    checkpoint.remove()
    assert checkpoint.read() is None
    assert capsys.readouterr().err == ""


def test_stochastic_training_pixels_are_drawn_anew_each_epoch_and_reproducibly(monkeypatch):
    grey = replace(prepared(30), intensities=True)
    grey.pixels[:] = 128  # alike: their order does not matter
    validation = replace(prepared(30))

    def pixels_of_each_epoch() -> list[torch.Tensor]:
        seen = []
        monkeypatch.setattr(
            "vae.training.loop.train_epoch",
            lambda run, pixels, *_: seen.append(pixels) or torch.zeros(2, len(pixels)),
        )
        list(fit(new_run(grey), grey, validation))
        return seen

    epochs = pixels_of_each_epoch()
    assert len({epoch.sum().item() for epoch in epochs}) > len(epochs) // 2
    for first, second in zip(epochs, pixels_of_each_epoch(), strict=True):
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


def test_models_that_do_not_fit_the_images_are_refused():
    words = r"'logistic' takes pixels of 256 levels, and these have 2 \(binarization: threshold 128"
    with pytest.raises(UserError, match=words):
        new_run(prepared(20), {"likelihood": "logistic"})
    with pytest.raises(UserError, match=r"model\.network = 'conv': images of 5×8 pixels: their"):
        new_run(prepared(20, (1, 5, 8)), {"network": "conv"})


@pytest.mark.parametrize(
    "values",
    [
        {"importance_samples": 2, "kl_weight": 5.0},
        {"importance_samples": 2, "gradient": "stl"},
        {"gradient": "dreg"},
        {"importance_samples": 2, "gradient": "dreg", "objective": "mine"},
        {"batch_size": 32, "shards": 5},
    ],
)
def test_settings_that_mean_nothing_together_are_refused(values):
    *_, (name, value) = values.items()
    with pytest.raises(ValueError, match=f"train.{name} = {value!r}".replace("5.0", "5")):
        Settings(**values)


@pytest.mark.parametrize("shards", [1, 2])
def test_dropout_is_random_in_training_alone_and_reproducibly(monkeypatch, shards):
    monkeypatch.setitem(NETWORKS, "dropping", "tests.training.networks:Dropping")
    images, states = prepared(40), []
    for _ in range(2):
        run = new_run(images, {"network": "dropping"}, epochs=2, batch_size=8, shards=shards)
        list(fit(run, images, images))
        states.append(run.state())
        torch.manual_seed(1 + len(states))  # nothing of it is left to the next run
    assert all(torch.equal(its, states[1][name]) for name, its in states[0].items())
    assert not run.model.training
    assert torch.equal(run.model.encode(images.pixels).mean, run.model.encode(images.pixels).mean)


def test_a_value_that_is_not_finite_is_found_with_its_step_and_the_last_that_was():
    terms = torch.stack([torch.full((100,), -90.0), torch.full((100,), 10.0)])
    check_finite(terms, 32)
    terms[1, 64:] = math.inf
    with pytest.raises(
        Diverged, match=r"at step 3: .* not finite \(last finite value: -100.0 nats"
    ):
        check_finite(terms, 32)


def test_a_model_worse_than_a_guess_has_diverged():
    good, bad = torch.full((4,), -300.0), torch.full((4,), -6000.0)
    model = small_vae(shape=(1, 28, 28))
    check_sense((good, good.abs()), 5.0, model)
    check_sense((good, bad.abs()), 0.0, model)  # a KL that is not trained may be large
    check_sense((bad, good.abs()), 1.0, small_vae(shape=(1, 28, 28), likelihood="logistic"))
    for at_rest in [(bad, good.abs()), (good, bad.abs()), (good * math.nan, good)]:
        with pytest.raises(Diverged, match="a guess at random for each pixel has -543"):
            check_sense(at_rest, 1.0, model)
