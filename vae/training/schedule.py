"""How the learning rate changes while training runs.

A schedule is a function of the share of training that is done, above 0 and below 1. It returns the
share of train.learning_rate that the next step takes.
"""

WARM_UP = 0.3  # the share of all steps in which one_cycle's rate rises


def constant(done: float) -> float:
    return 1.0


def one_cycle(done: float) -> float:
    """A straight line up to 1 and another down towards 0 (Smith & Topin 2018, arXiv:1708.07120)."""
    return min(done / WARM_UP, (1 - done) / (1 - WARM_UP))
