"""Draws new images: z from the prior, through the decoder. Writes plots/samples.png."""

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
    images = model.sample(params.num_images, generator(device, params.seed, "latents"))
    inputs.check()  # before anything is written
    a = model.architecture
    title = f"New {model.dataset} images: {a.latent_dim} dimensions, {a.prior} prior"
    save_grid("plots/samples.png", images.cpu().numpy(), params.columns, title)


if __name__ == "__main__":
    run_stage("sample", main)
