"""The page runs decoders of known operations; of any other model it says why not."""

import pytest
import torch
from torch import nn

from report.explorer import explorer
from report.program import CannotRun, program
from tests.models import prepared, small_vae


class Conditional(nn.Module):
    """Takes labels, too."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x, labels):
        return self.linear(x.flatten(1)) + labels


def test_an_encoder_that_takes_more_than_images_is_refused():
    model = small_vae().float()
    model.encoder = Conditional(64, 6)
    with pytest.raises(CannotRun, match=r"its encoder does not take images alone \(Conditional"):
        explorer(model, prepared(20), [1.0, 1.0, 1.0], seed=0)


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
