"""A folder of the user's own pictures."""

import os
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
    """Folders inside are classes, but for hidden ones; pictures in a folder without any are one
    class.
    """

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        folders = [path.name for path in Path(directory).iterdir() if path.is_dir()]
        classes = sorted(name for name in folders if not name.startswith(".")) or ["."]
        return classes, {name: label for label, name in enumerate(classes)}


class Folder:
    """PNG and JPEG pictures, cut to the square in their middle and scaled.

    As many of them as `prepare.validation_size` are the test images; `prepare.seed` chooses which.
    """

    title = ""  # the folder's name

    def load(self, prepare: Any) -> tuple[Arrays, Arrays]:
        """Raises Refusal if there is no such folder, or too little or too much in it, and UserError
        if something in it cannot be read.
        """
        folder, size, held_out = Path(prepare.folder), prepare.image_size, prepare.validation_size
        named = f"prepare.folder = {str(folder)!r}"
        if not folder.is_dir():
            raise Refusal(f"{named}: there is no such folder; give its full path, without ~")
        self.title = in_short(folder.resolve().name)
        for _ in os.walk(folder, onerror=_refuse):  # torchvision leaves out what it may not read
            pass
        mode = "RGB" if prepare.channels == 3 else "L"
        pictures = Pictures(
            str(folder), transforms.PILToTensor(), loader=partial(_open, mode=mode, size=size),
            allow_empty=True, is_valid_file=partial(_is_picture, folder),
        )  # fmt: skip
        beside = [path.name for path in folder.iterdir() if _is_picture(folder, path)]
        if pictures.classes != ["."] and beside:
            raise Refusal(f"{named}: {in_short(beside[0])} is in none of its folders, the classes")
        if len(pictures.classes) > 256:
            raise Refusal(f"{named} has {len(pictures.classes)} folders: 256 classes are allowed")
        if len({os.path.realpath(path) for path, _ in pictures.samples}) < len(pictures):
            raise Refusal(f"{named} has a picture twice, by a link; remove it")
        if len(pictures) <= 2 * held_out:
            raise Refusal(
                f"{named} has {len(pictures)} PNG and JPEG pictures, of which "
                f"prepare.validation_size = {held_out} is held out for validation and again for "
                f"test; set it to less than half of the pictures"
            )
        images = [_read(pictures, index) for index in tqdm(range(len(pictures)), disable=None)]
        every, labels = torch.stack(images).numpy(), np.array(pictures.targets)
        random = generator("cpu", prepare.seed, "test split")
        order = torch.randperm(len(every), generator=random).numpy()
        test, train = np.sort(order[:held_out]), np.sort(order[held_out:])
        return (every[train], labels[train]), (every[test], labels[test])


def _is_picture(folder: Path, path: str | Path) -> bool:
    """By the name of a file in the folder, which is no hidden one, nor in a hidden folder."""
    inside = Path(path).relative_to(folder)
    return inside.suffix.lower() in KINDS and not any(part[0] == "." for part in inside.parts)


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be read ({error.strerror})")


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
        path, reason = map(in_short, (pictures.samples[index][0], error))
        raise UserError(
            f"{path} cannot be read as a picture ({reason}).\n"
            f"Repair or remove it, and run this again"
        ) from None
