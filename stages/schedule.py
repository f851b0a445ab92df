"""How the learning rate changes while training runs."""

import math

from stages.params import Train

WARM_UP = {"constant": 0.0, "cosine": 0.05, "one_cycle": 0.3}  # shares of all steps


def learning_rate(schedule: str, peak: float, step: int, steps: int) -> float:
    """The rate of `step`, from 1 to `steps`, on the way through training.

    constant: `peak` throughout. The others rise to it in a straight line and then fall towards
    zero: cosine after a short rise, along half a cosine (Loshchilov & Hutter 2017); one_cycle after
    a long one, in a straight line (Smith & Topin 2018).
    """
    done, rise = step / (steps + 1), WARM_UP[schedule]
    if done < rise:
        return peak * done / rise
    left = (1 - done) / (1 - rise)
    if schedule == "one_cycle":
        return peak * left
    if schedule == "cosine":
        # To seven digits: no two systems' cosines differ there.
        return float(f"{peak * (1 - math.cos(math.pi * left)) / 2:.7g}")
    return peak


def learning_rates(params: Train, epoch: int, steps: int) -> list[float]:
    """The rates of the `steps` steps of an epoch, from 1 to params.epochs."""
    before, total = (epoch - 1) * steps, params.epochs * steps
    return [
        learning_rate(params.schedule, params.learning_rate, before + step, total)
        for step in range(1, steps + 1)
    ]
