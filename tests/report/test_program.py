"""The page runs decoders of known operations; of any other model it says why not."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from report.program import CannotRun, program
from tests.report.conftest import GREY, give_model, report
from vae.model import NETWORKS
from vae.model.architecture import Architecture
from vae.model.networks.mlp import MLP


class Conditional(nn.Module):
    """Takes labels, too."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x, labels):
        return self.linear(x.flatten(1)) + labels


class Labelled(MLP):
    def encoder(self, shape, outputs):
        return Conditional(math.prod(shape), outputs)


def test_the_page_says_that_the_encoder_takes_more_than_images(project, monkeypatch):
    monkeypatch.setitem(NETWORKS, "labelled", "tests.report.test_program:Labelled")
    give_model(project, "MNIST", Architecture(GREY, 12, "labelled"))
    report(project)
    page = project.read("report.html").decode()
    assert "does not run in this page, since its encoder does not take images alone (Cond" in page
    assert 'id="explorer-data"' not in page


class Decoder(nn.Module):
    """A linear layer from 3 dimensions to 4 numbers, followed by `rest`."""

    def __init__(self, rest):
        super().__init__()
        self.linear, self.rest, self.scale = nn.Linear(3, 4), rest, nn.Parameter(torch.ones(4))

    def forward(self, z):
        return self.rest(self, self.linear(z))


def test_an_operation_is_known_as_a_function_and_as_a_method():
    decoder = Decoder(lambda self, x: F.relu(x) + x.view(x.size(0), 1, -1).relu().flatten(1))
    kinds = [step["kind"] for step in program(decoder, 3)]
    assert kinds == ["gather", "relu", "relu", "add"]


def convolution(**options) -> nn.Module:
    return nn.Sequential(
        nn.Linear(3, 196), nn.Unflatten(1, (4, 7, 7)), nn.Conv2d(4, 16, 3, **options)
    )


@pytest.mark.parametrize(
    ("decoder", "reason"),
    [
        (Decoder(lambda self, x: x.tanh()), "operation tanh"),
        (Decoder(lambda self, x: x + self.scale), "operation scale"),
        (Decoder(lambda self, x: torch.add(x, x, alpha=2)), "operation add"),
        (Decoder(lambda self, x: F.relu(x, inplace=True) + x), "operation relu"),
        (Decoder(lambda self, x: x if x.sum() > 0 else x + x), "cannot list its .* control flow"),
        (Decoder(lambda self, x: (x, x)), "more or less than one tensor"),
        (Conditional(3, 4), r"cannot list its operations \(Expected .* parameter labels"),
        (convolution(groups=2), r"operation Conv2d\(4, 16, .*groups"),
        (convolution(padding_mode="circular"), r"operation Conv2d\(4, 16, .*padding_mode"),
    ],
)
def test_any_other_decoder_is_refused_in_a_line(decoder, reason, capsys):
    with pytest.raises(CannotRun, match=reason):
        program(decoder, 3)
    assert capsys.readouterr().err == ""
