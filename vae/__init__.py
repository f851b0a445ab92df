"""A variational autoencoder of images: `from vae import VAE`."""


def __getattr__(name: str) -> object:
    if name == "VAE":  # not before it is asked for: importing torch takes seconds
        from vae.model.vae import VAE

        return VAE
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
