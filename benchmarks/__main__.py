"""`make bench`: training beside the usual loop, a training step beside what the hardware allows.

It takes a few minutes on the prepared data. The two sides of a comparison take turns, so that
other work on the machine slows both. Each has a process of its own. Figures are medians, except the
time of all epochs.
"""

import argparse
import os
import platform
import statistics

import torch

from benchmarks.floor import step
from benchmarks.ours import our_epochs
from benchmarks.usual_loop import usual_epochs
from benchmarks.workers import a_process, begin, timed_epoch


def training(epochs: int) -> None:
    """Prints a line for each epoch of both loops on all training images."""
    print("batch 32, 784-512-64-12, bounded posterior, KL weight 5; seconds an epoch, train ELBO\n")
    print("epoch   usual loop              this project           ratio")
    usual_seconds, our_seconds = [], []
    with a_process() as usual, a_process() as ours:
        usual.submit(begin, usual_epochs).result()
        ours.submit(begin, our_epochs).result()
        for number in range(1, epochs + 1):
            a, usual_elbo = usual.submit(timed_epoch).result()
            b, our_elbo = ours.submit(timed_epoch).result()
            usual_seconds.append(a)
            our_seconds.append(b)
            print(f"{number:5}   {a:6.2f} s {usual_elbo:9.3f}      {b:6.2f} s {our_elbo:9.3f}     "
                  f"{a / b:5.2f}", flush=True)  # fmt: skip
    a, b = sum(usual_seconds), sum(our_seconds)
    ratio = statistics.median(x / y for x, y in zip(usual_seconds, our_seconds, strict=True))
    print(f"\nall     {a:6.1f} s                {b:6.1f} s               {a / b:5.2f}   "
          f"(median epoch {ratio:.2f})")  # fmt: skip


def steps() -> None:
    """Prints a line for each size of a batch."""
    print("\na training step beside its matrix products and fused Adam alone, milliseconds")
    sizes = (32, "portable"), (128, "portable"), (320, "portable"), (1024, "native")
    for batch, numerics in sizes:
        with a_process() as alone:
            ours, least = alone.submit(step, batch, numerics).result()
        print(f"batch {batch:5} {numerics:9} {ours:7.2f} {least:7.2f}   {ours / least:5.2f}",
              flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--epochs", type=int, default=15, help="of each loop (default 15)")
    epochs = parser.parse_args().epochs
    print(f"{platform.machine()}, {os.cpu_count()} processors, "
          f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads, "
          f"torch {torch.__version__}, Python {platform.python_version()}")  # fmt: skip
    training(epochs)
    steps()


if __name__ == "__main__":
    main()
