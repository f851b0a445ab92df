"""The page runs decoders of known operations; of any other model it says why not."""

import math

import pytest
import torch
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
        self.linear, self.rest = nn.Linear(3, 4), rest

    def forward(self, z):
        return self.rest(self.linear(z))


GROUPED = nn.Sequential(
    nn.Linear(3, 196), nn.Unflatten(1, (4, 7, 7)), nn.Conv2d(4, 16, 3, groups=2)
)


@pytest.mark.parametrize(
    ("decoder", "reason"),
    [
        (Decoder(lambda x: x.tanh()), "operation tanh"),
        (Decoder(lambda x: torch.add(x, x, alpha=2)), "operation add"),
        (Decoder(lambda x: x if x.sum() > 0 else x + x), "cannot list its .* control flow"),
        (Decoder(lambda x: (x, x)), "more or less than one tensor"),
        (Conditional(3, 4), r"cannot list its operations \(Expected .* parameter labels"),
        (GROUPED, r"operation Conv2d\(4, 16, .*groups"),
    ],
)
def test_any_other_decoder_is_refused_in_a_line(decoder, reason, capsys):
    with pytest.raises(CannotRun, match=reason):
        program(decoder, 3)
    assert capsys.readouterr().err == ""
