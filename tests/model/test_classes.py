"""A conditional model is, for each class, a model without classes."""

import pytest
import torch

from tests.models import prepared, random_images, small_vae
from vae import VAE
from vae.errors import UserError
from vae.evaluation.bounds import evaluate
from vae.model.objectives import loss

CLASSES = 3


def of_one_class(model: VAE, label: int) -> VAE:
    """The model without classes that `model` is for this one: what the class adds stands in the
    biases of the encoder's last layer and of the decoder's first.
    """
    parts = {"posterior": model.architecture.posterior, "prior": model.architecture.prior}
    plain = small_vae(**parts)
    state = {k: v for k, v in model.state_dict().items() if "classes" not in k}
    first = next(name for name in state if name.startswith("decoder.") and "weight" in name)
    by_class = state[first][:, 3:]
    plain.load_state_dict(state | {first: state[first][:, :3]})
    with torch.no_grad():
        *_, last = plain.encoder.parameters()
        last += model.classes.to_outputs.weight[:, label]
        plain.get_parameter(first.replace("weight", "bias")).add_(by_class[:, label])
    return plain


@pytest.mark.parametrize("prior", ["standard", "mixture"])
@pytest.mark.parametrize("posterior", ["bounded", "gaussian", "flow"])
def test_of_each_class_it_measures_what_a_model_of_that_class_does(posterior, prior):
    model = small_vae(posterior=posterior, prior=prior, classes=CLASSES)
    images, draws = random_images(5), torch.Generator()
    noise = torch.randn(4, 5, 3, dtype=torch.float64)
    for label in range(CLASSES):
        plain, labels = of_one_class(model, label), torch.full((5,), label)
        x = model.inputs(images, labels)
        torch.testing.assert_close(
            loss(model, x, noise, x.new_zeros(())), loss(plain, images, noise, x.new_zeros(()))
        )
        bounds = [
            its.log_likelihood(images, 3, draws.manual_seed(0), **given)
            for its, given in ((model, {"labels": labels}), (plain, {}))
        ]
        torch.testing.assert_close(*bounds)
        torch.testing.assert_close(model.reconstruct(images, labels), plain.reconstruct(images))
        torch.testing.assert_close(
            model.sample(5, draws.manual_seed(0), labels=labels),
            plain.sample(5, draws.manual_seed(0)),
        )


def test_evaluation_measures_each_image_under_its_own_class():
    model, images, draws = small_vae(classes=10), prepared(12), torch.Generator()
    model.scaled = lambda pixels: pixels.double()
    pixels = model.labelled(images.pixels, images.labels)
    result = evaluate(model, pixels, 0, 4, draws.manual_seed(0))
    bound = model.log_likelihood(images.pixels, 4, draws.manual_seed(0), images.labels)
    torch.testing.assert_close(result.log_likelihood, bound)


def test_images_are_sampled_of_each_class_in_turn():
    model = small_vae(classes=CLASSES)
    in_turn = model.sample(7, torch.Generator().manual_seed(0))
    labels = [0, 1, 2, 0, 1, 2, 0]
    assert in_turn.equal(model.sample(7, torch.Generator().manual_seed(0), labels=labels))
    assert model.sample(0, labels=[]).shape == (0, 1, 8, 8)


@pytest.mark.parametrize(
    ("classes", "take", "labels", "message"),
    [
        (CLASSES, VAE.encode, None, "needs labels"),
        (CLASSES, VAE.encode, [0, 1], r"labels of shape \(2,\): should be \[3\]"),
        (CLASSES, VAE.encode, [0, 1, 3], "a label is 3: should be 0 to 2"),
        (CLASSES, VAE.encode, [0.0, 1.0, 2.0], "labels are torch.float32: should be integers"),
        (CLASSES, VAE.encode, [0, 1, -1], "a label is -1: should be 0 to 2"),
        (CLASSES, lambda m, _, y: m.with_classes(torch.zeros(3, 3), y), [0, 1, 3], "a label is 3"),
        (CLASSES, lambda m, _, labels: m.sample(3, labels=labels), [0], r"should be \[3\]"),
        (0, VAE.encode, [0, 1, 2], "takes no labels"),
        (0, lambda m, _, labels: m.sample(3, labels=labels), [0, 1, 2], "takes no labels"),
    ],
)
def test_other_labels_are_refused(classes, take, labels, message):
    with pytest.raises(ValueError, match=message):
        take(small_vae(classes=classes), random_images(3), labels)


def test_a_class_that_no_training_image_has_is_named():
    images = prepared(10)
    with pytest.raises(UserError, match="an image is of class 9, and the training images"):
        small_vae(classes=CLASSES).labelled(images.pixels, images.labels)
