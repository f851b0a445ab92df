"""What the original's defects do, measured: `python -m benchmarks.original` (about 15 minutes).

The network of the README this project grew from, "Variational Autoencoder for MNIST": one noise
scalar an image, standard deviations from a bare tanh, a KL without its −1, KL weight 5, Adam 1e-3,
batch 32, 15 epochs. Then the same with one defect mended at a time. All numbers are nats per image,
of the training images; the ELBO is always drawn with independent noise, with the exact KL.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.usual_loop import UsualVAE
from vae.images import load_images


class OriginalVAE(UsualVAE):
    def encode_std(self, x: Tensor) -> Tensor:
        return torch.tanh(self.spread(self.encoder(x)))  # signed, and log std² has a pole at 0


def terms(model: nn.Module, x: Tensor, shared_noise: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Summed over x [N, 784]: the binary cross-entropy, the KL, and Σ|std| for its mean."""
    mean, std = model.encode_mean(x), model.encode_std(x)
    noise = torch.randn(len(x), 1) if shared_noise else torch.randn_like(std)
    cross_entropy = F.binary_cross_entropy(model.decoder(mean + std * noise), x, reduction="sum")
    kl = 0.5 * (mean**2 + std**2 - torch.log(std**2) - 1).sum()
    return cross_entropy, kl, std.abs().sum()


def train(model: nn.Module, images: Tensor, epochs: int, kl_weight: float, shared_noise: bool):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(32):
            cross_entropy, kl, _ = terms(model, images[batch].float(), shared_noise)
            optimizer.zero_grad()
            ((cross_entropy + kl_weight * kl) / len(batch)).backward()
            optimizer.step()


@torch.no_grad()
def measure(model: nn.Module, images: Tensor, shared_noise: bool) -> Tensor:
    """Mean cross-entropy, KL and |std| of an image: [3]."""
    sums = sum(torch.stack(terms(model, x.float(), shared_noise)) for x in images.split(500))
    return sums / torch.tensor([len(images), len(images), len(images) * 12])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15, help="of each training (default 15)")
    epochs = parser.parse_args().epochs
    torch.set_flush_denormal(True)
    images = load_images("data/train.safetensors").pixels.flatten(1)

    torch.manual_seed(0)
    model = OriginalVAE()
    train(model, images, epochs, kl_weight=5, shared_noise=True)
    cross_entropy, kl, std = measure(model, images, shared_noise=True).tolist()
    own_kl = kl + 6  # without the −1 of each of the 12 dimensions
    loss = cross_entropy + 5 * own_kl
    print("the original, as described")
    print(f"  its printed loss     {32 * loss:9.0f} a batch of 32, {loss:.1f} an image")
    print(f"  of which the missing −1 is {5 * 6} an image")
    print(f"  KL {kl:.2f} nats, mean |std| {std:.3f}")
    cross_entropy, kl, _ = measure(model, images, shared_noise=False).tolist()
    print(f"  ELBO                 {-(cross_entropy + kl):9.1f}", flush=True)

    for kl_weight in (5, 1):
        for kind, words in (OriginalVAE, "signed tanh std"), (UsualVAE, "std in (0, 1)"):
            torch.manual_seed(0)
            model = kind()
            train(model, images, epochs, kl_weight, shared_noise=False)
            cross_entropy, kl, _ = measure(model, images, shared_noise=False).tolist()
            print(f"independent noise, {words:15}, KL weight {kl_weight}: "
                  f"ELBO {-(cross_entropy + kl):8.1f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
