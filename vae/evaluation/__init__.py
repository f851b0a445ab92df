"""Bounds on log p(x) with their errors, walks through the latent space, pictures."""
