"""Digits side by side in one image, without title; the same bytes on every machine."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from vae.common.files import write_atomically

PIXEL = 3  # dots of the picture for each pixel of a digit
GAP = 2  # pixels between digits


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """[N, 28, 28] in [0, 1] → one image, row by row, with white between and after them."""
    count, height, width = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = np.ones((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP))
    for index, image in enumerate(images):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    return sheet


def save_tiles(path: str | Path, images: np.ndarray, columns: int) -> None:
    """Writes uint8 [N, 28, 28] as a PNG, 255 in white on black."""
    sheet = (255 * tile(images / 255, columns)).round().astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(sheet.repeat(PIXEL, 0).repeat(PIXEL, 1)).save(content, format="png")
    write_atomically(path, content.getvalue())
