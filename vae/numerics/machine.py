"""Makes a process ready for computing, and says whether it gets the committed bits."""

import ctypes
import hashlib
import math
import os
import sys
from collections.abc import Iterable

import torch
from torch import nn

from vae.numerics.functions import log_sigmoid
from vae.numerics.products import Linear, Rule
from vae.numerics.threads import Share

FINGERPRINTS = {  # by MKL_CBWR: the arithmetic that made the committed results
    "AVX2,STRICT": "3c03fb3dbb583b68",
    "COMPATIBLE": "2ead47022d550b93",
}
PORTABLE_THREADS = 4  # from 6 on their number shows in narrow products on AMD's processors

_share: Share | None = None


def start(device: torch.device, portable: bool) -> None:
    """To be called before anything is computed.

    portable: the same bits on every processor and with any number of threads, at some cost.
    """
    global _share
    # Adam's moments of weights behind always-black pixels decay into denormals, which halve the
    # speed. Threads inherit the setting: it has to come before there are any.
    torch.set_flush_denormal(True)
    keep_freed_memory()
    # torch's AVX-512 kernels of expm1 and log1p read the constant for −0 under a mask. From a page
    # that is not in memory yet such a read fetches nothing, and takes a hundred nanoseconds each
    # time. A −0 brings the page in: both are then 7 times as fast.
    torch.full((64,), -0.0).expm1_().log1p_()
    if portable:
        # Intel's library then multiplies matrices in one order whatever the instruction set and the
        # number of threads. It reads this at the first product.
        os.environ["MKL_CBWR"] = "AVX2,STRICT"
        # oneDNN's convolutions have other bits on AVX2; torch's own take up to six times as long.
        torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
        if device.type == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
            # This is torch.use_deterministic_algorithms(True) without loading torch's compiler,
            # which takes 3 s of a processor, as long as loading torch.
            torch.set_deterministic_debug_mode("error")
            # Convolutions would round what they multiply to 11 bits.
            torch.backends.cudnn.allow_tf32 = False
            # With it, torch fills memory that is written next: 37 more calls in a step of the
            # defaults (counted on a processor), and each is a kernel for a GPU.
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    Rule.portable = portable and device.type == "cpu"
    if device.type == "cpu":
        _share = Share(PORTABLE_THREADS if portable else sys.maxsize)
        _share.adapt()


def govern(network: nn.Module) -> None:
    """Has all linear layers in the network, torch's own too, multiply as `products.linear` does."""
    for module in network.modules():
        if type(module) is nn.Linear:
            module.__class__ = Linear


def share_processors() -> None:
    """Takes as many threads as are free now. To be called before much is computed."""
    if _share is not None:
        _share.adapt()


def settle(networks: Iterable[nn.Module]) -> None:
    """To be called before the first product of networks that are to compute portably.

    Products of other layers than linear ones keep no rule: for them the library keeps to SSE2's
    order, which is one for all processors if there is a single thread, and takes twice as long.
    Says on standard error if this machine's bits differ from those of the committed results.
    """
    if not Rule.portable:
        return
    layers = (module for network in networks for module in network.modules())
    if any(layer._parameters and not isinstance(layer, Linear) for layer in layers):
        os.environ["MKL_CBWR"] = "COMPATIBLE"
        if _share is not None:
            _share.limit(1)
    if fingerprint() != FINGERPRINTS[os.environ["MKL_CBWR"]]:
        print(
            f"this machine's arithmetic (torch {torch.__version__}, "
            f"{torch.backends.cpu.get_cpu_capability()}) is not that of the committed results "
            f"(torch 2.14.1, x86-64 with AVX2): their bits will differ, not their values",
            file=sys.stderr,
        )


def keep_freed_memory() -> None:
    """Keeps freed blocks for the next step, instead of handing them back to the system, which
    clears each page that it gives out again: 5 to 12% of a step, measured by benchmarks/choices.py
    at commit ee92564.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        trim_threshold, mmap_threshold = -1, -3  # constants of glibc's malloc.h
        libc.mallopt(trim_threshold, 2**30)
        libc.mallopt(mmap_threshold, 2**25)


def fingerprint() -> str:
    """A digest of what portable numerics rest on, in the shapes of a training step: matrix
    products, a convolution, the functions of vae/numerics/functions.py, and sums.
    """

    def numbers(*shape: int) -> torch.Tensor:  # in [−1, 1], the same everywhere
        return (torch.arange(math.prod(shape)) * 7919 % 2003).view(shape) / 1001.5 - 1

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    hidden = numbers(32, 800) @ numbers(800, 512)
    gradient = hidden.T @ numbers(32, 64)
    images = torch.conv2d(numbers(2, 4, 14, 14), numbers(8, 4, 3, 3), padding=1)
    torch.set_num_threads(threads)
    functions = torch.tanh, torch.expm1, log_sigmoid, torch.reciprocal
    results = [hidden, gradient, images, hidden.abs().log1p(), hidden.sum(0), hidden.sum(-1)]
    results += [function(hidden) for function in functions]
    content = b"".join(result.numpy().tobytes() for result in results)
    return hashlib.sha256(content).hexdigest()[:16]
