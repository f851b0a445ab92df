"""What a data set is.

It is a class with a `title` and a method `load`. `load` takes the section `prepare` of params.yaml
and returns two splits: training and test. A split is a pair of NumPy arrays or of PyTorch tensors:
images uint8 [N, H, W] or [N, C, H, W], intensities 0..255 of one or three channels, and labels [N],
integers 0..255.
"""

from pkgutil import resolve_name
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from datasets import DATASETS
from vae.errors import UserError

Arrays = tuple[ArrayLike, ArrayLike]  # images and labels, as a data set gives them
Split = tuple[Tensor, Tensor]  # checked: images uint8 [N, C, H, W], labels uint8 [N]


def load_dataset(name: str, prepare: Any) -> tuple[str, Split, Split]:
    """Title, training split and test split of the data set that the table has under `name`.

    Raises UserError if no source has it, or if its arrays are not as they should be.
    """
    dataset = resolve_name(DATASETS[name])()
    train, test = dataset.load(prepare)
    title = dataset.title
    train, test = _checked(f"{title}'s training", *train), _checked(f"{title}'s test", *test)
    if train[0].shape[1:] != test[0].shape[1:]:
        shapes = [list(images.shape[1:]) for images, _ in (train, test)]
        raise UserError(f"{title}'s training images are {shapes[0]}, its test images {shapes[1]}")
    return title, train, test


def _checked(whose: str, images: ArrayLike, labels: ArrayLike) -> Split:
    images, labels = np.asarray(images).copy(), np.asarray(labels)
    if images.ndim == 3:
        images = images[:, np.newaxis]
    if images.dtype != np.uint8 or images.ndim != 4 or images.size == 0:
        wrong = f"images are {images.dtype} {list(images.shape)}: should be uint8 [N, C, H, W]"
    elif images.shape[1] not in (1, 3):
        wrong = f"images have {images.shape[1]} channels: should be 1, grey, or 3, colour"
    elif images.max() <= 1:
        wrong = "images have no pixel above 1: should be intensities 0..255"
    elif labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        wrong = f"labels are {labels.dtype} {list(labels.shape)}: should be int [{len(images)}]"
    elif labels.min() < 0 or labels.max() > 255:
        wrong = f"labels are {labels.min()} to {labels.max()}: should be 0 to 255"
    else:
        return torch.from_numpy(images), torch.from_numpy(labels.astype(np.uint8))
    raise UserError(f"{whose} {wrong}")
