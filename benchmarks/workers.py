"""Work in processes of its own: numerics and denormals are settings of a whole process."""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context


def a_process() -> ProcessPoolExecutor:
    """A process that has computed nothing yet, until it is left with `with`."""
    return ProcessPoolExecutor(1, get_context("spawn"))


def begin(loop: Callable[[], Callable[[], float]]) -> None:
    """In the process of a training loop: makes it ready."""
    global epoch
    epoch = loop()


def timed_epoch() -> tuple[float, float]:
    """In the same process: trains for an epoch. Its seconds, and its mean training ELBO in nats."""
    began = time.perf_counter()
    elbo = epoch()
    return time.perf_counter() - began, elbo
