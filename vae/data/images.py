"""The prepared images, as the stages after `prepare` read them."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vae.common.errors import UserError
from vae.common.files import digest, load_tensors, save_tensors

BLOCK = 500  # images at a time, where they all are gone through


def binarize(intensities: Tensor, generator: torch.Generator) -> Tensor:
    """Draws each pixel as 1 with probability intensity/255: uint8 of any shape → uint8 in {0, 1}.

    The stochastic binarization of Salakhutdinov & Murray 2008, and exact: a uniform integer of
    0..254 is below the intensity with just that probability.
    """
    uniform = torch.empty_like(intensities).random_(0, 255, generator=generator)
    return (uniform < intensities).to(torch.uint8)


def blocks(rows: Tensor) -> tuple[Tensor, ...]:
    """Splits [N, ...] into blocks of at most BLOCK rows and nearly equal sizes. Products of very
    few rows have other bits, so no block may be much smaller than the others.
    """
    return rows.tensor_split(math.ceil(len(rows) / BLOCK))


@dataclass(frozen=True)
class Images:
    pixels: Tensor  # uint8 [N, 784]: in {0, 1}, or intensities 0..255
    labels: Tensor  # uint8 [N]
    intensities: bool
    dataset: str  # MNIST, say
    binarization: str  # threshold N | stochastic

    def binary(self, generator: torch.Generator) -> Tensor:
        """Pixels in {0, 1}, uint8 [N, 784]: drawn with `generator` if these are intensities."""
        return binarize(self.pixels, generator) if self.intensities else self.pixels

    def log_odds(self) -> Tensor:
        """log p/(1 − p) for the share p of images in which a pixel is 1, [784]. Half an image is
        added to each count.
        """
        ones = self.pixels.sum(0, dtype=torch.int64).tolist()
        ones = [n / 255 if self.intensities else n for n in ones]
        # To seven digits: no two systems' logarithms differ there.
        odds = [(n + 0.5) / (len(self.pixels) - n + 0.5) for n in ones]
        return torch.tensor([float(f"{math.log(o):.7g}") for o in odds])

    def to(self, device: torch.device) -> "Images":
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))


def save_images(
    path: str | Path, images: Tensor, labels: Tensor, metadata: Mapping[str, str]
) -> None:
    """Writes images uint8 [N, 28, 28], in {0, 1} or intensities 0..255, and labels uint8 [N].

    `metadata`: dataset, binarization, and the threshold if there is one.
    """
    tensors = {"images": images, "labels": labels}
    metadata = {**metadata, "pixels": "intensities" if images.max() > 1 else "binary"}
    save_tensors(path, tensors, {**metadata, "sha256": _digest(tensors, metadata)})


def load_images(path: str | Path) -> Images:
    """Reads one file of `prepare`. Raises UserError if it is not one that `prepare` wrote."""
    tensors, metadata = load_tensors(path)
    written = metadata.pop("sha256", None)
    if not written or "images" not in tensors:
        raise UserError(
            f"{path} does not hold images and labels as `prepare` writes them.\n"
            f"Delete it and make it again: dvc repro"
        )
    if _digest(tensors, metadata) != written:  # if equal, the rest is as `save_images` made it
        raise UserError(
            f"{path} has changed since it was written: its content does not have its SHA-256.\n"
            f"Delete it and run: dvc repro (if it is damaged again, delete its copy in .dvc/cache)"
        )
    binarization = f"{metadata['binarization']} {metadata.get('threshold', '')}".strip()
    pixels, intensities = tensors["images"].flatten(1), metadata["pixels"] == "intensities"
    return Images(pixels, tensors["labels"], intensities, metadata["dataset"], binarization)


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    return digest(tensors, json.dumps(metadata, sort_keys=True))
