"""The machine under a stage: its device, its arithmetic, its random streams."""

import ctypes
import hashlib
import math
import os
import sys

import torch
from torch.nn.functional import logsigmoid

from vae.common.errors import Refusal
from vae.common.threads import share_processors, use_one_thread

FINGERPRINTS = {  # of the arithmetic that made the committed results, by MKL_CBWR
    "AVX2,STRICT": "02952c53221e5029",
    "COMPATIBLE": "b376295636ee6e0a",
}


def start(device: str, parameter: str, portable: bool = True) -> torch.device:
    """Makes ready for computing, before anything is computed, and returns the device to use.

    `device` is cpu, cuda, cuda:N, mps or auto, the value of `parameter` (for the message).
    `portable`: the same bits on every processor and with any number of threads, at some cost.
    Raises Refusal if this machine lacks the device.
    """
    # Adam's moments of weights behind always-black pixels decay into denormals, which halve the
    # speed. Threads inherit the setting: it has to come before there are any.
    torch.set_flush_denormal(True)
    if portable:
        # Intel's library then multiplies matrices in one order whatever the instruction set and the
        # number of threads. It reads this at the first product.
        os.environ["MKL_CBWR"] = "AVX2,STRICT"
        # oneDNN's convolutions have other bits on AVX2; torch's own take up to six times as long.
        torch.backends.mkldnn.enabled = False  # type: ignore[assignment]

    keep_freed_memory()
    # torch's AVX-512 kernels of expm1 and log1p read the constant for −0 under a mask. From a page
    # that is not in memory yet such a read fetches nothing, and takes a hundred nanoseconds each
    # time. A −0 brings the page in: both are then 7 times as fast.
    torch.full((64,), -0.0).expm1_().log1p_()

    present = ["cpu"]
    if torch.cuda.is_available():
        present += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        present.append("mps")
    if device == "auto":
        device = present[1] if len(present) > 1 else "cpu"
        print(f"{parameter} = auto: using {device}")
    if ("cuda:0" if device == "cuda" else device) not in present:
        raise Refusal(
            f"{parameter} = {device!r}: this machine has no such device (it has: "
            f"{', '.join(present)}); set {parameter} to one of these, or to auto"
        )
    if device == "cpu":
        share_processors(portable)
    if device.startswith("cuda") and portable:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.use_deterministic_algorithms(True)
    return torch.device(device)


def make_products_portable(agree_in_avx2: bool) -> None:
    """To be called before the first product of a portable computation, after `start`.

    agree_in_avx2: see vae/model/products.py. If they do not, the library keeps to SSE2, where they
    do if there is a single thread. Says on standard error if this machine's bits will differ from
    those of the committed results.
    """
    if not agree_in_avx2:
        os.environ["MKL_CBWR"] = "COMPATIBLE"
        use_one_thread()
    if fingerprint() != FINGERPRINTS[os.environ["MKL_CBWR"]]:
        print(
            f"this machine's arithmetic (torch {torch.__version__}, "
            f"{torch.backends.cpu.get_cpu_capability()}) is not that of the committed results "
            f"(torch 2.14.1, x86-64 with AVX2): their bits will differ, not their values",
            file=sys.stderr,
        )


def keep_freed_memory() -> None:
    """Keeps freed blocks for the next step, instead of handing them back to the system, which
    clears each page that it gives out again: `python -m benchmarks.choices` prints what it saves.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        trim_threshold, mmap_threshold = -1, -3  # of glibc's malloc.h
        libc.mallopt(trim_threshold, 2**30)
        libc.mallopt(mmap_threshold, 2**25)


def fingerprint() -> str:
    """A digest of what portable numerics rest on, in the shapes of a training step: matrix
    products, a convolution, the functions of vae/model/densities.py, and sums.
    """

    def numbers(*shape: int) -> torch.Tensor:  # in [−1, 1], the same everywhere
        return (torch.arange(math.prod(shape)) * 7919 % 2003).view(shape) / 1001.5 - 1

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    hidden = numbers(32, 784) @ numbers(784, 512)
    gradient = hidden.T @ numbers(32, 64)
    images = torch.conv2d(numbers(2, 4, 14, 14), numbers(8, 4, 3, 3), padding=1)
    torch.set_num_threads(threads)
    functions = torch.tanh, torch.expm1, logsigmoid, torch.reciprocal
    results = [hidden, gradient, images, hidden.abs().log1p(), hidden.sum(0), hidden.sum(-1)]
    results += [function(hidden) for function in functions]
    content = b"".join(result.numpy().tobytes() for result in results)
    return hashlib.sha256(content).hexdigest()[:16]


def generator(device: torch.device | str, seed: int, purpose: str) -> torch.Generator:
    """A random stream for each purpose, so that no draw for one purpose shifts another."""
    return torch.Generator(device).manual_seed(seed_of(seed, purpose))


def seed_of(seed: int, purpose: str) -> int:
    digest = hashlib.sha256(f"{seed}: {purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
