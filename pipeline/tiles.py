"""Images side by side in one, without title; the same bytes on every machine."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from vae.files import write_atomically

SIDE = 84  # about so many dots of the picture for the longer side of an image
GAP = 2  # pixels between images


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """[N, C, H, W] in [0, 1] → one image [height, width, C], row by row, with white between."""
    count, channels, height, width = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = np.ones((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels))
    for index, image in enumerate(images):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return sheet


def dots(height: int, width: int) -> int:
    """How many dots of the picture a pixel takes on each side."""
    return max(1, round(SIDE / max(height, width)))


def save_tiles(path: str | Path, images: np.ndarray, columns: int) -> None:
    """Writes uint8 [N, C, H, W] as a PNG, grey or in colour."""
    sheet = (255 * tile(images / 255, columns)).round().astype(np.uint8)
    scale = dots(*images.shape[2:])
    sheet = sheet.repeat(scale, 0).repeat(scale, 1)
    content = io.BytesIO()
    Image.fromarray(sheet.squeeze(-1) if sheet.shape[-1] == 1 else sheet).save(content, "png")
    write_atomically(path, content.getvalue())
