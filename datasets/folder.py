"""A folder of the user's own pictures."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from torchvision.datasets import ImageFolder
from tqdm import tqdm

from datasets.load import Arrays
from vae.errors import Refusal, UserError, in_short
from vae.numerics import generator

KINDS = ".png", ".jpg", ".jpeg"


class Pictures(ImageFolder):  # type: ignore[misc]
    """Folders inside are classes; pictures in a folder without any are one class."""

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        classes = sorted(path.name for path in Path(directory).iterdir() if path.is_dir()) or ["."]
        return classes, {name: label for label, name in enumerate(classes)}


class Folder:
    """PNG and JPEG pictures, cut to the square in their middle and scaled.

    As many of them as `prepare.validation_size` are the test images; `prepare.seed` chooses which.
    """

    title = ""  # the folder's name

    def load(self, prepare: Any) -> tuple[Arrays, Arrays]:
        """Raises Refusal if there is no such folder, or too little in it, and UserError if a
        picture cannot be read.
        """
        folder, size, held_out = Path(prepare.folder), prepare.image_size, prepare.validation_size
        self.title = folder.resolve().name
        if not folder.is_dir():
            raise Refusal(f"prepare.folder = {str(folder)!r}: there is no such folder")
        mode = "RGB" if prepare.channels == 3 else "L"
        pictures = Pictures(
            str(folder), transforms.PILToTensor(), loader=partial(_open, mode=mode, size=size),
            allow_empty=True, is_valid_file=lambda path: path.lower().endswith(KINDS),
        )  # fmt: skip
        if len(pictures) <= 2 * held_out:
            raise Refusal(
                f"prepare.folder = {str(folder)!r} has {len(pictures)} PNG and JPEG pictures, of "
                f"which prepare.validation_size = {held_out} is held out for validation and again "
                f"for test"
            )
        images = [_read(pictures, index) for index in tqdm(range(len(pictures)), disable=None)]
        every, labels = torch.stack(images).numpy(), np.array(pictures.targets)
        random = generator("cpu", prepare.seed, "test split")
        order = torch.randperm(len(every), generator=random).numpy()
        test, train = np.sort(order[:held_out]), np.sort(order[held_out:])
        return (every[train], labels[train]), (every[test], labels[test])


def _open(path: str, mode: str, size: int) -> Image.Image:
    with Image.open(path, formats=["PNG", "JPEG"]) as file:
        image: Image.Image = file
        if image.mode.startswith("I"):  # 16 bits a pixel: `convert` makes all above 255 white
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        # Cut first: nothing beside the square shows, and a narrow picture needs no memory.
        square = transforms.functional.center_crop(image.convert(mode), [min(image.size)])
        return square.resize((size, size), Image.Resampling.BILINEAR)


def _read(pictures: Pictures, index: int) -> torch.Tensor:
    try:
        return pictures[index][0]
    except Exception as error:  # whatever the format's reader raises
        raise UserError(
            f"{pictures.samples[index][0]} cannot be read as a picture ({in_short(error)}).\n"
            f"Repair or remove it, and run this again"
        ) from None
