"""The model. What it can be made of stands in these tables: a class (or function) and a line here
add a network, a likelihood, a posterior, a prior or an objective (docs/extending.md).

The values are the places where they are defined, so that importing this imports no torch.
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
