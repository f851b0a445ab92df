"""Matrix products agree on Intel's and AMD's processors."""

import pytest
import torch
from torch import nn

from tests.models import small_vae
from vae.model.products import Linear, agree_in_avx2

WIDE = {"hidden_dims": [30, 20], "latent_dim": 12}


def test_padding_changes_no_value_and_no_gradient():
    narrow = Linear(5, 3).double()
    plain = nn.Linear(5, 3).double()
    plain.load_state_dict(narrow.state_dict())
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(narrow(x), plain(x))
    tensors = [(x, *layer.parameters()) for layer in (narrow, plain)]
    gradients = [
        torch.autograd.grad(layer(x).square().sum(), its)
        for layer, its in zip((narrow, plain), tensors, strict=True)
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("model", "batches", "agree"),
    [
        ({}, (), True),
        ({}, (32, 24), True),
        ({}, (512, 216), False),  # 55,000 images in batches of 512 leave 216
        ({}, (32, 7), False),
        ({"latent_dim": 2}, (), True),  # padded
        ({"latent_dim": 2, "prior": "mixture"}, (), False),
        ({"latent_dim": 12, "prior": "mixture"}, (), True),
        ({"latent_dim": 2, "posterior": "flow"}, (), True),  # padded
        ({"hidden_dims": [250]}, (), False),
        ({"network": "conv", "channels": 16}, (), False),
    ],
)
def test_only_wide_enough_models_have_the_same_bits_in_avx2(model, batches, agree):
    assert agree_in_avx2(small_vae(**(WIDE | model)), batches) == agree


def test_a_network_of_torchs_own_linear_layers_has_to_be_wide():
    model = small_vae(**WIDE)
    model.encoder.append(nn.Linear(24, 24))
    assert agree_in_avx2(model)
    model.encoder.append(nn.Linear(24, 8))
    assert not agree_in_avx2(model)
