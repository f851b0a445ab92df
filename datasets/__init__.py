"""The table of data sets. To add one, write a class, as datasets/load.py describes, and add a line
here (docs/extending.md).

The values are import paths, so that reading params.yaml imports none of them.
"""

DATASETS = {  # prepare.dataset: a class with a `title` and a method `load`
    "mnist": "datasets.mnist:MNIST",
    "fashion_mnist": "datasets.mnist:FashionMNIST",
    "kmnist": "datasets.mnist:KMNIST",
    "cifar10": "datasets.cifar10:CIFAR10",
    "folder": "datasets.folder:Folder",
}
