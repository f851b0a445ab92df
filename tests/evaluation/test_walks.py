"""Lines through the latent space."""

import pytest
import torch

from vae.evaluation.walks import STEPS, along, held


@pytest.mark.parametrize("far", [0.0, 1e4])
def test_a_walk_spans_the_aggregate_posterior(far):
    torch.manual_seed(0)
    mean, std = far + torch.randn(20_000, 3) * torch.tensor([0, 3, 4]), torch.tensor([1e-3, 4, 3])
    lines = along(mean, std.expand_as(mean), [2, 0], 2.0).unflatten(0, (2, STEPS))
    torch.testing.assert_close(lines[:, STEPS // 2], mean.mean(0).expand(2, 3))
    steps = lines.diff(dim=1)
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps), rtol=0.01, atol=2e-3)
    reach = (lines[:, -1] - lines[:, 0]) / 2
    expected = torch.tensor([[0, 0, 10.0], [2e-3, 0, 0]])
    torch.testing.assert_close(reach, expected, rtol=0.03, atol=1e-3 if far else 1e-6)


def test_the_first_groups_are_held_one_more_in_each_row():
    center, noise = torch.arange(6.0), -torch.ones(STEPS, 6)
    rows = held(center, [1, 2, 3], noise).unflatten(0, (3, STEPS))
    for row, count in zip(rows, [0, 1, 3], strict=True):
        assert (row[:, :count] == center[:count]).all()
        assert (row[:, count:] == -1).all()
