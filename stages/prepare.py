"""Finds the data set, binarizes it, and holds out a validation set.

Writes data/train.safetensors, data/validation.safetensors and data/test.safetensors.
"""

import torch
from torch import Tensor

from datasets.load import load_dataset
from pipeline.inputs import Inputs
from pipeline.params import Prepare, load_params
from pipeline.stage import run_stage
from vae.errors import Refusal
from vae.images import binarize, save_images
from vae.numerics import generator


def split(count: int, validation_size: int, limit: int | None, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of the training and of the validation images, each ascending.

    Raises Refusal if no training image would be left.
    """
    if validation_size >= count:
        raise Refusal(
            f"prepare.validation_size = {validation_size}: "
            f"there are {count} training images; allowed are 1 to {count - 1}"
        )
    order = torch.randperm(count, generator=generator("cpu", seed, "split"))
    train = order[validation_size:][:limit]
    return train.sort().values, order[:validation_size].sort().values


def pixels(images: Tensor, name: str, params: Prepare) -> Tensor:
    """What a file holds: pixels in {0, 1}; or the intensities, of stochastic training images or
    where they are not binarized.

    The literature's protocol draws training pixels anew each epoch, the others once.
    """
    if params.binarization == "threshold":
        return (images > params.threshold).to(torch.uint8)
    if name == "train" or params.binarization == "none":
        return images
    return binarize(images, generator("cpu", params.seed, f"{name} pixels"))


def main(inputs: Inputs) -> None:
    params = load_params().prepare
    title, (images, labels), test = load_dataset(params.dataset, params)
    train, validation = split(len(images), params.validation_size, params.limit, params.seed)

    metadata = {"dataset": title, "binarization": params.binarization}
    if params.binarization == "threshold":
        metadata["threshold"] = str(params.threshold)
    elif params.binarization == "stochastic":
        metadata["seed"] = str(params.seed)
    inputs.check()  # before anything is written
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
