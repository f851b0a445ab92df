"""The images, and where they come from. A class and a line here add a data set
(docs/extending.md); what such a class needs is told in vae/data/datasets.py.

The values are the places where they are defined, so that reading params.yaml imports no torch.
"""

DATASETS = {  # prepare.dataset: a class with a `title` and a method `load`
    "mnist": "vae.data.datasets:MNIST",
    "fashion_mnist": "vae.data.datasets:FashionMNIST",
    "kmnist": "vae.data.datasets:KMNIST",
}
