"""The model. What it can be made of stands in these tables: a class (or function) and a line here
add a network, a posterior or a prior (docs/extending.md).

The values are the places where they are defined, so that reading params.yaml imports no torch.
"""

NETWORKS = {  # model.network: from an Architecture to an encoder and a decoder
    "mlp": "vae.model.networks.mlp:mlp",
    "conv": "vae.model.networks.conv:conv",
}
POSTERIORS = {  # model.posterior: from the number of latent dimensions to a module
    "bounded": "vae.model.posteriors:BoundedPosterior",
    "gaussian": "vae.model.posteriors:GaussianPosterior",
    "flow": "vae.model.posteriors:FlowPosterior",
}
PRIORS = {  # model.prior: from the number of latent dimensions to a Prior
    "standard": "vae.model.priors:StandardPrior",
    "mixture": "vae.model.priors:MixturePrior",
}
