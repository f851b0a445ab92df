"""The prepared images, as the stages after `prepare` read them."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from stages.errors import UserError
from stages.files import load_tensors

BLOCK = 500  # images at a time, where they all are gone through


def binarize(intensities: Tensor, generator: torch.Generator) -> Tensor:
    """Draws each pixel as 1 with probability intensity/255: uint8 of any shape → uint8 in {0, 1}.

    The stochastic binarization of Salakhutdinov & Murray 2008, and exact: a uniform integer of
    0..254 is below the intensity with just that probability.
    """
    uniform = torch.empty_like(intensities).random_(0, 255, generator=generator)
    return (uniform < intensities).to(torch.uint8)


def blocks(rows: Tensor) -> tuple[Tensor, ...]:
    """[N, ...] in blocks of at most BLOCK rows, evenly: few rows have bits of their own."""
    return rows.tensor_split(math.ceil(len(rows) / BLOCK))


@dataclass(frozen=True)
class Images:
    pixels: Tensor  # uint8 [N, 784]: in {0, 1}, or intensities 0..255
    labels: Tensor  # uint8 [N]
    intensities: bool
    binarization: str  # threshold N | stochastic

    def binary(self, generator: torch.Generator) -> Tensor:
        """Pixels in {0, 1}, uint8 [N, 784]: drawn with `generator` if these are intensities."""
        return binarize(self.pixels, generator) if self.intensities else self.pixels

    def log_odds(self) -> Tensor:
        """Of each pixel being 1, [784]: log p/(1 − p), with half an image more of each kind."""
        ones = self.pixels.sum(0, dtype=torch.int64).tolist()
        ones = [n / 255 if self.intensities else n for n in ones]
        # To seven digits: no two systems' logarithms differ there.
        odds = [(n + 0.5) / (len(self.pixels) - n + 0.5) for n in ones]
        return torch.tensor([float(f"{math.log(o):.7g}") for o in odds])

    def to(self, device: torch.device) -> "Images":
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))


def load_images(path: str | Path) -> Images:
    """Reads one file of `prepare`. Raises UserError if it is not one that `prepare` wrote."""
    tensors, metadata = load_tensors(path)
    pixels, labels = tensors.get("images"), tensors.get("labels")
    if (
        pixels is None
        or labels is None
        or pixels.dtype != torch.uint8
        or labels.dtype != torch.uint8
        or len(labels) == 0
        or pixels.shape != (len(labels), 28, 28)
        or metadata.get("pixels") not in ("binary", "intensities")
        or "binarization" not in metadata
    ):
        raise UserError(
            f"{path} does not hold images and labels as `prepare` writes them.\n"
            f"Delete it and make it again: dvc repro"
        )
    binarization = f"{metadata['binarization']} {metadata.get('threshold', '')}".strip()
    return Images(pixels.flatten(1), labels, metadata["pixels"] == "intensities", binarization)
