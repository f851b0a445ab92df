"""Finds the data set, binarizes it, and holds out a validation set.

Writes data/train.safetensors, data/validation.safetensors and data/test.safetensors.
"""

import torch
from torch import Tensor

from vae.common.errors import Refusal
from vae.common.inputs import Inputs
from vae.common.params import Prepare, load_params
from vae.common.runtime import generator
from vae.common.stage import run_stage
from vae.data.datasets import load_dataset
from vae.data.images import binarize, save_images


def split(count: int, validation_size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of the training and of the validation images, each ascending.

    Raises Refusal if no training image would be left.
    """
    if validation_size >= count:
        raise Refusal(
            f"prepare.validation_size = {validation_size}: "
            f"there are {count} training images; allowed are 1 to {count - 1}"
        )
    order = torch.randperm(count, generator=generator("cpu", seed, "split"))
    return order[validation_size:].sort().values, order[:validation_size].sort().values


def pixels(images: Tensor, name: str, params: Prepare) -> Tensor:
    """What a file holds: pixels in {0, 1}, or for stochastic training images the intensities.

    The literature's protocol draws training pixels anew each epoch, the others once.
    """
    if params.binarization == "threshold":
        return (images > params.threshold).to(torch.uint8)
    if name == "train":
        return images
    return binarize(images, generator("cpu", params.seed, f"{name} pixels"))


def main(_: Inputs) -> None:
    params = load_params().prepare
    title, (images, labels), test = load_dataset(params.dataset, params.mirror)
    train, validation = split(len(images), params.validation_size, params.seed)

    metadata = {"dataset": title, "binarization": params.binarization}
    if params.binarization == "threshold":
        metadata["threshold"] = str(params.threshold)
    else:
        metadata["seed"] = str(params.seed)
    for name, split_images, split_labels in [
        ("train", images[train], labels[train]),
        ("validation", images[validation], labels[validation]),
        ("test", *test),
    ]:
        path = f"data/{name}.safetensors"
        save_images(path, pixels(split_images, name, params), split_labels, metadata)
        print(f"{path}: {len(split_labels):,} images")


if __name__ == "__main__":
    run_stage("prepare", main)
