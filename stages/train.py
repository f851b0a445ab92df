"""Fits the VAE.

Writes models/vae.safetensors and metrics/train.json. During training it adds a row to
plots/training.csv each epoch, and pictures of digits to plots/epochs/.
"""

import hashlib
import json
import os
import time
from pathlib import Path

import torch

from pipeline.begin import LOADED, ROOT, sha256
from pipeline.inputs import Inputs
from pipeline.params import Params, load_params
from pipeline.stage import run_stage, start
from pipeline.tiles import save_tiles
from vae.errors import Refusal, UserError
from vae.files import write_csv, write_json
from vae.images import load_images
from vae.numerics import settle
from vae.training.checkpoint import Checkpoint
from vae.training.loop import final_metrics, fit
from vae.training.run import Run
from vae.training.shards import Processes, is_launched, launch, together

DATA = "data/train.safetensors", "data/validation.safetensors"
EPOCHS = Path("plots/epochs")


def save_picture(run: Run, epoch: int) -> None:
    if epoch in run.grids:
        save_tiles(EPOCHS / f"{epoch}.png", run.grids[epoch].numpy(), columns=4)


def tidy(run: Run) -> None:
    """Removes pictures of earlier trainings from the folder of this one's."""
    EPOCHS.mkdir(parents=True, exist_ok=True)
    for path in EPOCHS.iterdir():
        if path.name not in {f"{epoch}.png" for epoch in run.grids} and not path.is_dir():
            path.unlink()


def checkpoint_path(params: Params, device: torch.device) -> Path:
    """Its name is a digest of all that decides the result.

    In experiments of DVC's queue the working folder is a temporary copy, and DVC_ROOT names the
    repository that outlives it.
    """
    chosen = {
        "model": params.model.model_dump(),
        "train": params.train.model_dump(),
        "device": device.type,
        "torch": torch.__version__,
        "data": [sha256(path) for path in DATA],
        "code": {str(path.relative_to(ROOT)): digest for path, digest in LOADED.items()},
    }
    name = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()
    return Path(os.environ.get("DVC_ROOT", "."), ".checkpoints", f"{name[:32]}.safetensors")


def main(inputs: Inputs) -> None:
    params = load_params()
    options = os.environ.get("TORCHRUN")
    if options and not is_launched():
        launch("stages.train", options)
        return
    with together(params.train.device, params.train.shards) as (processes, device):
        train(params, processes, device, inputs)


def train(params: Params, processes: Processes, device_name: str, inputs: Inputs) -> None:
    epochs = params.train.epochs
    device = start(device_name, "train.device", params.train.numerics, params.train.precision)
    images = load_images(DATA[0]).to(device)
    validation = load_images(DATA[1]).to(device)
    if validation.kind != images.kind:
        raise UserError(
            f"{DATA[0]} is {images.kind}; {DATA[1]} is {validation.kind}.\n"
            f"Make both again: dvc repro"
        )

    if params.model.conditional and images.classes == 1:
        raise Refusal(
            "model.conditional = true: all training images are of one class; put the pictures of "
            "each class into a folder of their own, or set model.conditional to false"
        )
    architecture = params.model.architecture(images.shape, images.classes)
    run = Run.new(architecture, params.train.settings(), images, processes)
    settle(run.model.networks)
    checkpoint = Checkpoint(checkpoint_path(params, device))
    if saved := processes.from_first(checkpoint.read() if processes.first else None):
        run.restore(*saved)
        done = len(run.rows)
        print(f"going on after epoch {done} of {epochs}, where training stopped", flush=True)
        if processes.first:
            write_csv("plots/training.csv", run.rows)
            for epoch in range(1, done + 1):
                save_picture(run, epoch)

    began = time.perf_counter()
    for row in fit(run, images, validation):
        if processes.first:
            checkpoint.save(run.state(), run.rows)
            write_csv("plots/training.csv", run.rows)
            save_picture(run, len(run.rows))
        print(
            f"epoch {len(run.rows):{len(str(epochs))}}/{epochs}   "
            f"train ELBO {row['train_elbo']:9.3f}   "
            f"validation ELBO {row['validation_elbo']:9.3f} nats   "
            f"{time.perf_counter() - began:.0f} s",
            flush=True,
        )

    if processes.first:
        inputs.check()  # while there is a checkpoint to go on from
        metrics = final_metrics(run.model, params.train.seed, images, validation)
        run.model.save("models/vae.safetensors")
        write_json("metrics/train.json", {"epochs": epochs, **metrics})
        tidy(run)
        checkpoint.remove()


if __name__ == "__main__":
    run_stage("train", main, is_launched())
