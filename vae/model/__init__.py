"""The model, and the tables of its parts. To add a network, a likelihood, a posterior, a prior or
an objective, write a class (or function) and add a line here (docs/extending.md).

The values are import paths, so that importing this module does not import torch.
"""

NETWORKS = {  # model.network: a Network
    "mlp": "vae.model.networks.mlp:MLP",
    "conv": "vae.model.networks.conv:Conv",
    "levels": "vae.model.networks.levels:Levels",
}
LIKELIHOODS = {  # model.likelihood: a Likelihood
    "bernoulli": "vae.model.likelihoods:Bernoulli",
    "logistic": "vae.model.likelihoods:Logistic",
}
POSTERIORS = {  # model.posterior: from the number of latent dimensions to a Posterior
    "bounded": "vae.model.posteriors:BoundedPosterior",
    "gaussian": "vae.model.posteriors:GaussianPosterior",
    "flow": "vae.model.posteriors:FlowPosterior",
    "ladder": "vae.model.ladder:LadderPosterior",
}
PRIORS = {  # model.prior: from the number of latent dimensions to a Prior
    "standard": "vae.model.priors:StandardPrior",
    "mixture": "vae.model.priors:MixturePrior",
}
OBJECTIVES = {  # train.objective: from Terms to what training maximizes
    "bound": "vae.model.objectives:bound",
    "free_groups": "vae.model.objectives:free_groups",
}
