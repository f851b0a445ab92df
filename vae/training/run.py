"""A training run: the model and everything else that its next epochs depend on."""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name

import torch
from torch import Tensor

from vae.errors import Refusal
from vae.images import Images
from vae.model.architecture import Architecture
from vae.model.vae import VAE
from vae.training import SCHEDULES
from vae.training.checkpoint import Row
from vae.training.optimizer import AdamW
from vae.training.recorded import Recorded
from vae.training.settings import Settings
from vae.training.shards import ALONE, Processes, Sharded
from vae.training.steps import Plain

GRID = 16  # images of a picture on the way


@dataclass
class Run:
    settings: Settings
    model: VAE
    optimizer: AdamW
    schedule: Callable[[float], float]  # of the learning rate (vae/training/schedule.py)
    step: Plain
    best: dict[str, Tensor]  # the model's state after its best epoch, if that is kept
    grids: dict[int, Tensor]  # by epoch: the same latents decoded, uint8, for a picture
    rows: list[Row]  # of training.csv, one for each finished epoch

    @classmethod
    def new(
        cls,
        architecture: Architecture,
        settings: Settings,
        train: Images,
        processes: Processes = ALONE,
    ) -> "Run":
        """On the device of `train`, with random weights that are the same on every device.

        Raises Refusal if the model does not fit the images or the settings.
        """
        torch.manual_seed(settings.seed)
        try:
            model = VAE(architecture)
        except ValueError as error:
            reason = str(error)
            if not reason.startswith("model."):  # which names the parameter
                reason = f"model.network = {architecture.network!r}: {reason}"
            raise Refusal(reason) from None
        if train.shape != architecture.shape:
            raise Refusal(f"images of {train.shape}, and the model is for {architecture.shape}")
        model.dataset, model.binarization = train.dataset, train.binarization
        model.precision = getattr(torch, settings.precision)
        if model.likelihood.levels != train.levels:
            raise Refusal(
                f"model.likelihood = {architecture.likelihood!r} takes pixels of "
                f"{model.likelihood.levels} levels, and these have {train.levels} "
                f"(binarization: {train.binarization})"
            )
        last = len(train.pixels) % settings.batch_size or settings.batch_size
        if last == 1 and any(True for _ in model.buffers()):
            raise Refusal(
                f"train.batch_size = {settings.batch_size} leaves one of {len(train.pixels)} "
                f"images for the last batch, and model.network = {architecture.network!r} keeps "
                f"averages of batches (BatchNorm); set train.batch_size to another number"
            )
        if settings.decoder_bias == "log_odds":
            set_pixel_biases(model, train)
        model.to(train.pixels.device)
        optimizer = AdamW(dict(model.named_parameters()), settings.weight_decay)
        step = Plain(model, optimizer, settings)
        if train.pixels.device.type == "cuda":
            epoch = math.ceil(len(train.pixels) / settings.batch_size)
            step = Recorded(model, optimizer, settings, settings.epochs * epoch)
        if settings.shards > 1:
            step = Sharded(model, optimizer, settings, processes)
        empty, count = torch.zeros(GRID, *train.shape, dtype=torch.uint8), settings.grids
        # So many pictures, after evenly spaced epochs; the last epoch is among them.
        grids = {-(-settings.epochs * n // count): empty.clone() for n in range(1, count + 1)}
        schedule = resolve_name(SCHEDULES[settings.schedule])
        return cls(settings, model, optimizer, schedule, step, {}, grids, [])

    def state(self) -> dict[str, Tensor]:
        parts = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state(),
            "best": self.best,
            "grid": {str(epoch): grid for epoch, grid in self.grids.items()},
        }
        return {
            f"{part}/{name}": value for part, its in parts.items() for name, value in its.items()
        }

    def restore(self, state: dict[str, Tensor], rows: list[Row]) -> None:
        """Goes back to where `state` was taken, after len(rows) epochs."""
        parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
        device = next(self.model.parameters()).device
        for key, tensor in state.items():
            part, _, name = key.partition("/")
            parts[part][name] = tensor.to(device)
        self.model.load_state_dict(parts["model"])
        for name, tensor in self.optimizer.state().items():
            tensor.copy_(parts["optimizer"][name])
        self.best = parts["best"]
        self.grids = {int(epoch): grid.cpu() for epoch, grid in parts["grid"].items()}
        self.rows = rows


def set_pixel_biases(model: VAE, train: Images) -> None:
    """Raises Refusal if the decoder does not end with a bias for each pixel."""
    values = model.likelihood.bias(train).flatten()
    *_, last = model.decoder.parameters()
    if last.shape != values.shape:
        raise Refusal(
            f"train.decoder_bias = 'log_odds' with model.network = {model.architecture.network!r}: "
            f"its decoder does not end with a bias of each pixel; set train.decoder_bias to random"
        )
    last.data = values
