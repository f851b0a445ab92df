"""How the learning rate changes while training runs."""

WARM_UP = 0.3  # the share of all steps in which one_cycle's rate rises


def learning_rate(schedule: str, peak: float, step: int, steps: int) -> float:
    """The learning rate at `step`, which runs from 1 to `steps`.

    constant: always `peak`. one_cycle: a straight line up to `peak` and another down towards zero
    (Smith & Topin 2018, arXiv:1708.07120).
    """
    if schedule == "constant":
        return peak
    done = step / (steps + 1)
    return peak * min(done / WARM_UP, (1 - done) / (1 - WARM_UP))
