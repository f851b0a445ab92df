"""Fits the VAE.

Writes models/vae.safetensors and metrics/train.json. During training it adds a row to
plots/training.csv each epoch, and pictures of digits to plots/epochs/.
"""

import os
import sys
import time
from pathlib import Path

from vae.common.files import write_csv, write_json
from vae.common.inputs import Inputs
from vae.common.params import Params, load_params
from vae.common.runtime import make_products_portable, start
from vae.common.stage import run_stage
from vae.data.images import load_images
from vae.evaluation.tiles import save_tiles
from vae.model.products import agree_in_avx2
from vae.training.checkpoint import Checkpoint, fingerprint
from vae.training.loop import final_metrics, fit
from vae.training.processes import Processes, is_launched, together
from vae.training.run import Run

DATA = "data/train.safetensors", "data/validation.safetensors"
EPOCHS = Path("plots/epochs")


def loaded_modules() -> list[str]:
    """The files of this project's code that Python has loaded."""
    return sorted(
        module.__file__
        for name, module in sys.modules.items()
        if name.partition(".")[0] in ("stages", "vae") and module.__file__
    )


def draw(run: Run, epoch: int) -> None:
    if epoch in run.grids:
        save_tiles(EPOCHS / f"{epoch}.png", run.grids[epoch].numpy(), columns=4)


def tidy(run: Run) -> None:
    """Removes pictures of earlier trainings from the folder of this one's."""
    EPOCHS.mkdir(parents=True, exist_ok=True)
    for path in EPOCHS.iterdir():
        if path.name not in {f"{epoch}.png" for epoch in run.grids} and not path.is_dir():
            path.unlink()


def main(inputs: Inputs) -> None:
    params = load_params()
    options = os.environ.get("TORCHRUN")
    if options and not is_launched():
        from vae.training.launch import launch  # which takes a moment, and is seldom wanted

        launch("stages.train", options)
        return
    with together(params.train) as processes:
        train(params, processes, inputs)


def train(params: Params, processes: Processes, inputs: Inputs) -> None:
    epochs = params.train.epochs
    portable = params.train.numerics == "portable"
    device = start(processes.device(params.train.device), "train.device", portable)
    images = load_images(DATA[0]).to(device)
    validation = load_images(DATA[1]).to(device)

    run = Run.new(params, images, processes)
    if portable:
        make_products_portable(agree_in_avx2(run.model, run.rows_a_step(len(images.pixels))))
    checkpoint = Checkpoint(fingerprint(params, device, [*DATA, __file__, *loaded_modules()]))
    if saved := processes.from_first(checkpoint.read() if processes.first else None):
        run.restore(*saved)
        done = len(run.rows)
        print(f"going on after epoch {done} of {epochs}, where training stopped", flush=True)
        if processes.first:
            write_csv("plots/training.csv", run.rows)
            for epoch in range(1, done + 1):
                draw(run, epoch)

    began = time.perf_counter()
    for row in fit(run, images, validation):
        if processes.first:
            checkpoint.save(run.state(), run.rows)
            write_csv("plots/training.csv", run.rows)
            draw(run, len(run.rows))
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
    run_stage("train", main)
