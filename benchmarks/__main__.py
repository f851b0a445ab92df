"""`make bench`: training beside the usual loop, its parts beside what the hardware allows.

It takes a quarter of an hour. The two sides of a comparison take turns, so that other work on the
machine slows both. Only the times to the same ELBO are measured one after the other. Each training
loop has a process of its own, because numerics and denormals are settings of a whole process.
Figures are medians, except the time of all epochs.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time

from benchmarks.pipeline import overhead, peak_megabytes

STAGES = "prepare", "train", "evaluate", "sample"


def worker(kind: str) -> None:
    """Runs one epoch of `kind` for each line on standard input; answers with seconds and ELBO."""
    import torch

    if kind == "usual":
        from safetensors.torch import load_file

        from benchmarks.usual_loop import UsualLoop, UsualVAE

        torch.manual_seed(0)
        images = load_file("data/train.safetensors")["images"].flatten(1)
        epoch = UsualLoop(UsualVAE(), images, kl_weight=5.0).epoch
    else:
        from benchmarks.ours import our_epochs

        epoch = our_epochs()
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        elbo = epoch()
        print(time.perf_counter() - began, elbo, flush=True)


class Loop:
    """A worker process that trains one epoch at a time, when asked."""

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

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def training(epochs: int) -> None:
    print("batch 32, 784-512-64-12, bounded posterior, KL weight 5; seconds an epoch, train ELBO\n")
    print("epoch   usual loop              this project           ratio")
    usual, ours, ratios, sums = Loop("usual"), Loop("ours"), [], [0.0, 0.0]
    for epoch in range(1, epochs + 1):
        (a, elbo_a), (b, elbo_b) = usual.epoch(), ours.epoch()
        ratios.append(a / b)
        sums = [sums[0] + a, sums[1] + b]
        print(
            f"{epoch:5}   {a:6.2f} s {elbo_a:9.3f}      {b:6.2f} s {elbo_b:9.3f}     {a / b:5.2f}",
            flush=True,
        )
    usual.end()
    ours.end()  # or it would count as a stage at work, and take its share of the processors
    print(f"\nall     {sums[0]:6.1f} s                {sums[1]:6.1f} s               "
          f"{sums[0] / sums[1]:5.2f}   (median epoch {statistics.median(ratios):.2f})")  # fmt: skip


def in_a_process(expression: str) -> tuple[float, ...]:
    """The numbers that a benchmark returns. It runs in a process of its own."""
    code = f"from benchmarks import floor, time_to_elbo; print(*{expression})"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return tuple(map(float, done.stdout.split()))


def parts() -> None:
    print("\na training step beside its matrix products and fused Adam alone, milliseconds")
    for batch, portable in (32, True), (128, True), (320, True), (1024, False):
        ours, least = in_a_process(f"floor.step({batch}, {portable})")
        numerics = "portable" if portable else "native"
        print(f"batch {batch:5} {numerics:9} {ours:7.2f} {least:7.2f}   {ours / least:5.2f}")
    print(
        "a draw of the bound for 10,000 images beside the decoder's matrix products, milliseconds"
    )
    ours, least, memory = in_a_process("floor.bound(20)")
    print(f"{ours:23.1f} {least:7.1f}   {ours / least:5.2f}   {memory:.0f} MB above model and data")


def to_the_same_elbo(epochs: int) -> None:
    print("\nGaussian posterior, KL weight 1: seconds of training, test ELBO in nats")
    ours, elbo = in_a_process("time_to_elbo.ours()")
    print(f"preset fast              {ours:7.1f} {elbo:8.2f}", flush=True)
    usual, usual_elbo = in_a_process(f"time_to_elbo.usual({epochs})")
    print(f"usual loop, {epochs:2} epochs    {usual:7.1f} {usual_elbo:8.2f}   {usual / ours:5.2f}")


def pipeline() -> None:
    cold, nothing, version = overhead()
    print(f"\ndvc repro of four stages with next to no work {cold:.1f} s, "
          f"with nothing changed {nothing:.1f} s, dvc version {version:.1f} s")  # fmt: skip
    peaks = [f"{stage} {peak_megabytes(stage):.0f}" for stage in STAGES]
    more = peak_megabytes("evaluate", importance_samples=80)
    print(f"peak memory in MB: {', '.join(peaks)} ({more:.0f} with 4 times the draws)")


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
    training(arguments.epochs)
    parts()
    to_the_same_elbo(arguments.epochs)
    pipeline()


if __name__ == "__main__":
    main()
