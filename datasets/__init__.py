"""The data sets, and where they come from. A class and a line here add one (docs/extending.md);
what such a class needs is told in datasets/load.py.

The values are the places where they are defined, so that reading params.yaml imports none.
"""

DATASETS = {  # prepare.dataset: a class with a `title` and a method `load`
    "mnist": "datasets.mnist:MNIST",
    "fashion_mnist": "datasets.mnist:FashionMNIST",
    "kmnist": "datasets.mnist:KMNIST",
    "cifar10": "datasets.cifar10:CIFAR10",
    "folder": "datasets.folder:Folder",
}
