"""How the learning rate changes while training runs."""

from vae.common.params import Train

WARM_UP = 0.3  # of one_cycle: the share of all steps


def learning_rate(schedule: str, peak: float, step: int, steps: int) -> float:
    """The learning rate at `step`, which runs from 1 to `steps`.

    constant: always `peak`. one_cycle: a straight line up to `peak` and another down towards zero
    (Smith & Topin 2018, arXiv:1708.07120).
    """
    if schedule == "constant":
        return peak
    done = step / (steps + 1)
    return peak * min(done / WARM_UP, (1 - done) / (1 - WARM_UP))


def learning_rates(params: Train, epoch: int, steps: int) -> list[float]:
    """The rates of the `steps` steps of an epoch, from 1 to params.epochs."""
    before, total = (epoch - 1) * steps, params.epochs * steps
    return [
        learning_rate(params.schedule, params.learning_rate, before + step, total)
        for step in range(1, steps + 1)
    ]
