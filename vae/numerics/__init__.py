"""Arithmetic with the same bits on every machine, for the model and its objectives."""

from vae.numerics.functions import (
    exp,
    log,
    log_add_exp,
    log_mean_exp,
    log_sigmoid,
    log_sum_exp,
    sigmoid,
    softmax,
    softplus,
)
from vae.numerics.machine import govern, settle, share_processors, start
from vae.numerics.products import Linear, linear
from vae.numerics.statistics import mean, mean_and_stderr
from vae.numerics.streams import generator, seed_of

__all__ = [
    "Linear", "exp", "generator", "govern", "linear", "log", "log_add_exp", "log_mean_exp",
    "log_sigmoid", "log_sum_exp", "mean", "mean_and_stderr", "seed_of", "settle",
    "share_processors", "sigmoid", "softmax", "softplus", "start",
]  # fmt: skip
