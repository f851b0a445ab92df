"""Draws new images: z from the prior, through the decoder. Writes plots/samples.png.

For a conditional model, each row shows one class, in turn.
"""

from pipeline.inputs import Inputs
from pipeline.params import load_params
from pipeline.pictures import save_grid
from pipeline.stage import run_stage, start
from vae.model.vae import VAE
from vae.numerics import generator, settle


def main(inputs: Inputs) -> None:
    params = load_params().sample
    device = start(params.device, "sample.device")
    model = VAE.load("models/vae.safetensors", device)
    settle(model.networks)
    a, count, columns = model.architecture, params.num_images, params.columns
    rows = [row % a.classes for row in range(-(-count // columns))] if a.classes else []
    labels = [label for label in rows for _ in range(columns)][:count] if rows else None
    stream = generator(device, params.seed, "latents")
    images = model.sample(count, stream, labels=labels)
    inputs.check()  # before anything is written
    title = f"New {model.dataset} images: {a.latent_dim} dimensions, {a.prior} prior"
    names = [f"class {label}" for label in rows]
    save_grid("plots/samples.png", images.cpu().numpy(), columns, title, row_labels=names)


if __name__ == "__main__":
    run_stage("sample", main)
