"""Images with labels, and their file."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vae.errors import UserError
from vae.files import digest, load_tensors, save_tensors

BLOCK = 500  # images at a time, where they all are gone through
# Numbers of decoders' outputs: 10,000 images of MNIST, for which `stochastic-30` takes 3.5 GB, by
# what an image took on a processor.
ON_GPU = 8_000_000


def binarize(intensities: Tensor, generator: torch.Generator) -> Tensor:
    """Draws each pixel as 1 with probability intensity/255: uint8 of any shape → uint8 in {0, 1}.

    The stochastic binarization of Salakhutdinov & Murray 2008, and exact: a uniform integer of
    0..254 is below the intensity with just that probability.
    """
    uniform = torch.empty_like(intensities).random_(0, 255, generator=generator)
    return (uniform < intensities).to(torch.uint8)


def blocks(rows: Tensor, numbers: int) -> tuple[Tensor, ...]:
    """Splits [N, ...] into blocks of nearly equal sizes: on a processor at most BLOCK rows; on a
    GPU, which waits for Python at each block, as many as make ON_GPU numbers if a row makes
    `numbers` of them. It does not depend on what memory is free, as draws may depend on it.
    """
    most = BLOCK if rows.device.type == "cpu" else max(BLOCK, ON_GPU // numbers)
    return rows.tensor_split(math.ceil(len(rows) / most))


def kind(dataset: str, binarization: str, shape: tuple[int, int, int]) -> str:
    """What images are, in words. Numbers of images of two kinds mean different things."""
    return f"{dataset} of {'×'.join(map(str, shape))}, binarized: {binarization}"


@dataclass(frozen=True)
class Images:
    """Raises ValueError if the pixels are not uint8 [N, C, H, W], or beyond their levels."""

    pixels: Tensor  # uint8 [N, C, H, W]: levels 0, 1, …, levels − 1, or intensities 0..255
    labels: Tensor  # uint8 [N]
    levels: int  # 2 or 256
    intensities: bool  # True: pixels hold intensities, from which binary pixels are drawn
    dataset: str  # MNIST, say
    binarization: str  # threshold N | stochastic | none

    def __post_init__(self) -> None:
        its, top = self.pixels, 255 if self.intensities else self.levels - 1
        if its.dtype != torch.uint8 or its.ndim != 4:
            raise ValueError(
                f"images are {its.dtype} of shape {tuple(its.shape)}: should be a tensor of uint8, "
                f"[N, C, H, W]"
            )
        if its.numel() and (largest := int(its.max())) > top:
            raise ValueError(f"a pixel is {largest}: should be 0 to {top}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    @property
    def classes(self) -> int:
        """How many there are if each integer up to the largest label is one."""
        return int(self.labels.max()) + 1

    @property
    def kind(self) -> str:
        return kind(self.dataset, self.binarization, self.shape)

    def drawn(self, generator: torch.Generator) -> Tensor:
        """Levels, uint8 [N, C, H, W]: drawn with `generator` if these are intensities."""
        return binarize(self.pixels, generator) if self.intensities else self.pixels

    def to(self, device: torch.device) -> "Images":
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))


def save_images(
    path: str | Path, images: Tensor, labels: Tensor, metadata: Mapping[str, str]
) -> None:
    """Writes images uint8 [N, C, H, W] and labels uint8 [N].

    `metadata`: dataset, binarization, and the threshold if there is one.
    """
    tensors = {"images": images, "labels": labels}
    kind = "binary" if images.max() <= 1 and metadata["binarization"] != "none" else "intensities"
    metadata = {**metadata, "pixels": kind}
    save_tensors(path, tensors, {**metadata, "sha256": _digest(tensors, metadata)})


def load_images(path: str | Path) -> Images:
    """Reads one file of `prepare`. Raises UserError if it is not one that `prepare` wrote."""
    tensors, metadata = load_tensors(path)
    written = metadata.pop("sha256", None)
    if not written or "images" not in tensors or tensors["images"].ndim != 4:
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
    levels = 256 if binarization == "none" else 2
    intensities = levels == 2 and metadata["pixels"] == "intensities"
    pixels, labels = tensors["images"], tensors["labels"]
    return Images(pixels, labels, levels, intensities, metadata["dataset"], binarization)


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    return digest(tensors, json.dumps(metadata, sort_keys=True))
