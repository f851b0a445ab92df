"""Downloads MNIST, binarizes it, and holds out a validation set.

Writes data/train.safetensors, data/validation.safetensors and data/test.safetensors.
"""

import torch
from torch import Tensor

from stages.dataset import binarize
from stages.errors import UserError, run_stage
from stages.files import save_tensors
from stages.mnist import load_mnist
from stages.params import Prepare, load_params
from stages.runtime import generator


def split(count: int, validation_size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of the training and of the validation images, each ascending.

    Raises UserError if no training image would be left.
    """
    if validation_size >= count:
        raise UserError(
            f"prepare.validation_size = {validation_size}: "
            f"MNIST has {count} training images; allowed are 1 to {count - 1}"
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


def main() -> None:
    params = load_params().prepare
    mnist = load_mnist(params.mirror)
    images, labels = mnist["train-images-idx3-ubyte"], mnist["train-labels-idx1-ubyte"]
    train, validation = split(len(images), params.validation_size, params.seed)

    metadata = {"dataset": "MNIST", "binarization": params.binarization}
    if params.binarization == "threshold":
        metadata["threshold"] = str(params.threshold)
    else:
        metadata["seed"] = str(params.seed)
    for name, split_images, split_labels in [
        ("train", images[train], labels[train]),
        ("validation", images[validation], labels[validation]),
        ("test", mnist["t10k-images-idx3-ubyte"], mnist["t10k-labels-idx1-ubyte"]),
    ]:
        tensors = {"images": pixels(split_images, name, params), "labels": split_labels}
        kind = "intensities" if tensors["images"].max() > 1 else "binary"
        save_tensors(f"data/{name}.safetensors", tensors, metadata | {"pixels": kind})
        print(f"data/{name}.safetensors: {len(split_labels):,} images")


if __name__ == "__main__":
    run_stage(main)
