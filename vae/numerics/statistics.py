"""Means over images whose bits do not depend on the order of summation."""

import math

from torch import Tensor


def mean_and_stderr(values: Tensor) -> tuple[float, float]:
    """Mean of [N] values and its standard error over images, rounded to 1e-4.

    The sums are exact, so that the result depends neither on threads nor on the vector width.
    """
    numbers = values.cpu().double().tolist()
    mean = math.fsum(numbers) / len(numbers)
    variance = math.fsum((number - mean) ** 2 for number in numbers) / max(len(numbers) - 1, 1)
    return round(mean, 4), round(math.sqrt(variance / len(numbers)), 4)
