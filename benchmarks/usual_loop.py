"""The training loop that most public VAE examples have, on this project's network and data.

It has a DataLoader over a tensor, runs the encoder once for each head as the original does, and
uses sigmoid, BCELoss and plain Adam. Its mathematics is the correct one of vae/model/objectives.py,
so both loops do the same work in different ways.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from vae.images import load_images


class UsualVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 64), nn.ReLU())
        self.mean, self.spread = nn.Linear(64, 12), nn.Linear(64, 12)
        self.decoder = nn.Sequential(
            nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 512), nn.ReLU(),
            nn.Linear(512, 784), nn.Sigmoid(),
        )  # fmt: skip

    def encode_mean(self, x: Tensor) -> Tensor:
        return torch.tanh(self.mean(self.encoder(x)))

    def encode_std(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.spread(self.encoder(x)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, std = self.encode_mean(x), self.encode_std(x)
        z = mean + std * torch.randn_like(std)
        return self.decoder(z), mean, std


def usual_epochs() -> Callable[[], float]:
    """A function that trains one more epoch, and returns its mean training ELBO in nats."""
    torch.manual_seed(0)
    images = load_images("data/train.safetensors").pixels.flatten(1)
    model, bce = UsualVAE(), nn.BCELoss(reduction="sum")
    loader = DataLoader(TensorDataset(images.float()), 32, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def epoch() -> float:
        total = 0.0
        for (x,) in loader:
            decoded, mean, std = model(x)
            reconstruction = -bce(decoded, x)
            kl = 0.5 * (mean**2 + std**2 - torch.log(std**2) - 1).sum()
            loss = (5 * kl - reconstruction) / len(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += (reconstruction - kl).item()
        return total / len(images)

    return epoch
