"""Draws new images: z from the prior, through the decoder. Writes plots/samples.png."""

import torch

from vae.common.inputs import Inputs
from vae.common.params import load_params
from vae.common.runtime import generator, make_products_portable, start
from vae.common.stage import run_stage
from vae.evaluation.pictures import save_grid
from vae.model.products import agree_in_avx2
from vae.model.vae import VAE


def main(_: Inputs) -> None:
    params = load_params().sample
    device = start(params.device, "sample.device")
    model = VAE.load("models/vae.safetensors", device)
    make_products_portable(agree_in_avx2(model))
    with torch.no_grad():
        digits = model.sample(params.num_images, generator(device, params.seed, "latents"))
    shape = model.architecture
    title = f"New {model.dataset} images: {shape.latent_dim} dimensions, {shape.prior} prior"
    save_grid("plots/samples.png", digits.cpu().numpy(), params.columns, title)


if __name__ == "__main__":
    run_stage("sample", main)
