"""Means over images that no order of summation can change."""

import math

from torch import Tensor


def mean_and_stderr(values: Tensor) -> tuple[float, float]:
    """Mean of [N] values and its standard error over images, rounded to 1e-4.

    Summed exactly, so that neither threads nor vector width show in the result.
    """
    values = values.cpu().double().tolist()
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)
    return round(mean, 4), round(math.sqrt(variance / len(values)), 4)
