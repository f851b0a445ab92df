"""A training run: the model and everything else that its next epochs depend on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vae.common.errors import Refusal
from vae.common.params import Params, Train
from vae.data.images import Images
from vae.model.architecture import Architecture
from vae.model.vae import VAE
from vae.training.checkpoint import Row
from vae.training.optimizer import AdamW
from vae.training.processes import ALONE, Processes, sizes

GRID = 16  # digits of a picture on the way


@dataclass
class Run:
    """A model in training, and everything else that its next epochs depend on."""

    params: Train
    model: VAE
    optimizer: AdamW
    best: dict[str, Tensor]  # the model's state after its best epoch, if that is kept
    grids: dict[int, Tensor]  # of the epochs to be pictured: the same latents decoded, in grey
    rows: list[Row]  # of training.csv: one for each epoch that is done
    processes: Processes = ALONE

    @classmethod
    def new(cls, params: Params, train: Images, processes: Processes = ALONE) -> "Run":
        """On the device of `train`, with random weights that are the same on every device."""
        torch.manual_seed(params.train.seed)
        model = VAE(Architecture(**params.model.model_dump()))
        model.dataset, model.binarization = train.dataset, train.binarization
        model.precision = getattr(torch, params.train.precision)
        if params.train.decoder_bias == "log_odds":
            set_pixel_biases(model, train.log_odds())
        if params.train.shards > 1 and any(True for _ in model.buffers()):
            raise Refusal(
                f"train.shards = {params.train.shards} with model.network = "
                f"{params.model.network!r}: it keeps averages of whole batches (BatchNorm); set "
                f"train.shards to 1"
            )
        model.to(train.pixels.device)
        optimizer = AdamW(model, params.train.weight_decay)
        grids = {
            epoch: torch.zeros(GRID, 28, 28, dtype=torch.uint8) for epoch in pictured(params.train)
        }
        return cls(params.train, model, optimizer, {}, grids, [], processes)

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
        parts: dict[str, dict[str, Tensor]] = {
            part: {} for part in ("model", "optimizer", "best", "grid")
        }
        for key, tensor in state.items():
            part, _, name = key.partition("/")
            parts[part][name] = tensor.to(self.device)
        self.model.load_state_dict(parts["model"])
        for name, tensor in self.optimizer.state().items():
            tensor.copy_(parts["optimizer"][name])
        self.best = parts["best"]
        self.grids = {int(epoch): grid.cpu() for epoch, grid in parts["grid"].items()}
        self.rows = rows

    def rows_a_step(self, images: int) -> set[int]:
        """How many rows the matrices have that are multiplied in an epoch of `images` images."""
        params = self.params
        batches = min(params.batch_size, images), images % params.batch_size
        rows = {part for batch in batches for part in sizes(batch, params.shards)} - {0}
        return rows | {params.importance_samples * count for count in rows}

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device


def set_pixel_biases(model: VAE, values: Tensor) -> None:
    """Raises Refusal if the decoder does not end with a bias for each pixel."""
    *_, last = model.decoder.parameters()
    if last.shape != values.shape:
        raise Refusal(
            f"train.decoder_bias = 'log_odds' with model.network = {model.architecture.network!r}: "
            f"its decoder does not end with a bias of each pixel; set train.decoder_bias to random"
        )
    last.data = values


def pictured(params: Train) -> list[int]:
    """The epochs with a picture: params.grids of them, evenly, and the last among them."""
    return sorted({-(-params.epochs * n // params.grids) for n in range(1, params.grids + 1)})
