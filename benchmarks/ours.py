"""This project's training, an epoch at a time, as `dvc repro` runs it."""

from collections.abc import Callable

import torch

from stages.dataset import load_images
from stages.mlp import FlatAdam
from stages.params import load_params
from stages.runtime import start
from stages.train import fit
from stages.vae import VAE, Architecture


def our_epochs() -> Callable[[], float]:
    """A function that trains one more epoch, validation included, and returns its train ELBO."""
    start("cpu", "train.device")
    params = load_params()
    torch.manual_seed(0)
    model = VAE(Architecture(**params.model.model_dump()))
    optimizer = FlatAdam(model)
    train = load_images("data/train.safetensors")
    validation = load_images("data/validation.safetensors")
    endless = params.train.model_copy(update={"epochs": 10**9})
    rows = fit(model, optimizer, endless, train, validation)
    return lambda: next(rows)["train_elbo"]
