"""The machine under a stage: its device, its arithmetic, its random streams."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from stages.errors import UserError


def start(device: str, parameter: str) -> torch.device:
    """Makes ready for computing, before anything is computed, and returns the device to use.

    `device` is cpu, cuda, cuda:N, mps or auto, the value of `parameter` (for the message).
    Raises UserError if this machine lacks it.
    """
    # Adam's moments of weights behind always-black pixels decay into denormals, which halve the
    # speed. Threads inherit the setting: it has to come before there are any.
    torch.set_flush_denormal(True)
    # On AMD processors narrow matrix products change their bits from 6 threads on, and matrices
    # this small gain nothing from more than 4. See also `threads_for`.
    torch.set_num_threads(min(torch.get_num_threads(), 4))

    present = ["cpu"]
    if torch.cuda.is_available():
        present += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        present.append("mps")
    if device == "auto":
        device = present[1] if len(present) > 1 else "cpu"
    if ("cuda:0" if device == "cuda" else device) not in present:
        raise UserError(
            f"{parameter} = {device!r}: this machine has no such device (it has: "
            f"{', '.join(present)}); set {parameter} to one of these, or to auto"
        )
    if device.startswith("cuda"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.use_deterministic_algorithms(True)
    return torch.device(device)


@contextmanager
def threads_for(rows: int) -> Iterator[None]:
    """One thread for matrices of fewer than 32 rows, whose products on AMD processors would
    otherwise depend on the number of threads (tests/test_bits.py), and gain little from it.
    """
    threads = torch.get_num_threads()
    if rows < 32:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def generator(device: torch.device | str, seed: int, purpose: str) -> torch.Generator:
    """A random stream of its own for each purpose: nothing drawn for one shifts another."""
    digest = hashlib.sha256(f"{seed}: {purpose}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little") >> 1)
