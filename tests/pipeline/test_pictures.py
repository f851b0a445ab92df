"""Pictures of images of any shape have a size that a screen and the memory can hold."""

import numpy as np
import pytest
from PIL import Image

from pipeline.pictures import save_grid
from pipeline.tiles import GAP, save_tiles


@pytest.mark.parametrize(("height", "width", "side"), [(28, 28, 3), (1, 784, 1), (784, 1, 1)])
def test_a_long_image_is_not_drawn_larger_than_a_square_one(tmp_path, height, width, side):
    images = np.zeros((24, 1, height, width), np.uint8)
    save_tiles(tmp_path / "tiles.png", images, columns=12)
    save_grid(tmp_path / "grid.png", images / 255, 12, "a title")
    sheet = 12 * (width + GAP) - GAP, 2 * (height + GAP) - GAP
    with Image.open(tmp_path / "tiles.png") as tiles, Image.open(tmp_path / "grid.png") as grid:
        assert tiles.size == (side * sheet[0], side * sheet[1])
        assert grid.width <= max(tiles.width, 360) + 20  # there is a title above
        assert grid.height <= tiles.height + 50
