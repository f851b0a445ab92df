"""The prepared images, as the stages after `prepare` read them."""

import math
from dataclasses import dataclass
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

    def binary(self, generator: torch.Generator) -> Tensor:
        """Pixels in {0, 1}, uint8 [N, 784]: drawn with `generator` if these are intensities."""
        return binarize(self.pixels, generator) if self.intensities else self.pixels

    def to(self, device: torch.device) -> "Images":
        return Images(self.pixels.to(device), self.labels.to(device), self.intensities)


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
    ):
        raise UserError(
            f"{path} does not hold images and labels as `prepare` writes them.\n"
            f"Delete it and make it again: dvc repro"
        )
    return Images(pixels.flatten(1), labels, metadata["pixels"] == "intensities")
