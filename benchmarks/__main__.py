"""`make bench`: this project's training against the usual loop, side by side.

Each loop lives in a process of its own, as it would for its user (numerics and denormals are
settings of a whole process), and the two take turns, an epoch each, so that whatever else the
machine does falls on both.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time


def worker(kind: str) -> None:
    """Runs one epoch of `kind` for each line on standard input; answers with seconds and ELBO."""
    import torch

    if kind == "usual":
        from safetensors.torch import load_file

        from benchmarks.usual_loop import UsualLoop

        torch.manual_seed(0)
        images = load_file("data/train.safetensors")["images"].flatten(1)
        epoch = UsualLoop(images).epoch
    else:
        from benchmarks.ours import our_epochs

        epoch = our_epochs()
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        elbo = epoch()
        print(time.perf_counter() - began, elbo, flush=True)


class Loop:
    """A worker process, asked for one epoch at a time."""

    def __init__(self, kind: str):
        command = [sys.executable, "-m", "benchmarks", "--worker", kind]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self.process.stdout.readline() != "ready\n":
            sys.exit(f"the {kind} loop did not start; is data/ there? make repro")

    def epoch(self) -> tuple[float, float]:
        """Seconds and mean training ELBO in nats."""
        print(file=self.process.stdin, flush=True)
        seconds, elbo = self.process.stdout.readline().split()
        return float(seconds), float(elbo)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15, help="of each loop (default 15)")
    parser.add_argument("--worker", choices=["usual", "ours"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker)
        return

    import torch

    print(
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} processors, "
        f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, Python {platform.python_version()}"
    )
    print("batch 32, 784-512-64-12, bounded posterior, KL weight 5; seconds an epoch, train ELBO\n")
    print("epoch   usual loop              this project           ratio")
    usual, ours, ratios, sums = Loop("usual"), Loop("ours"), [], [0.0, 0.0]
    for epoch in range(1, arguments.epochs + 1):
        (a, elbo_a), (b, elbo_b) = usual.epoch(), ours.epoch()
        ratios.append(a / b)
        sums = [sums[0] + a, sums[1] + b]
        print(
            f"{epoch:5}   {a:6.2f} s {elbo_a:9.3f}      {b:6.2f} s {elbo_b:9.3f}     {a / b:5.2f}"
        )
        sys.stdout.flush()
    print(f"\nall     {sums[0]:6.1f} s                {sums[1]:6.1f} s               "
          f"{sums[0] / sums[1]:5.2f}   (median epoch {statistics.median(ratios):.2f})")  # fmt: skip


if __name__ == "__main__":
    main()
