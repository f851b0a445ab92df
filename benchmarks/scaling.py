"""How time and memory grow with the work: `python -m benchmarks.scaling` (about two minutes).

Draws docs/scaling.png. Each point comes from a process of its own: the median time of seven
repetitions, and the peak memory. The dashed lines grow in proportion to the work and go through the
last point.
"""

import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

POINTS = {
    "images a step": [32, 64, 128, 256, 512, 1024, 2048],
    "epochs": [1, 2, 4, 8],
    "latent dimensions": [2, 8, 32, 128, 512],
    "units of the first hidden layer": [128, 256, 512, 1024, 2048],
    "importance samples": [5, 10, 20, 40, 80],
}
REPETITIONS = 7


def measure(what: str, size: int) -> tuple[float, float]:
    """Seconds for 2,048 images (an epoch of training, or the bound of test images), and the peak
    memory of this process in MB.
    """
    from dataclasses import replace

    from benchmarks.ours import changed
    from vae.common.params import load_params
    from vae.common.runtime import generator, start
    from vae.data.images import load_images
    from vae.evaluation.bounds import evaluate
    from vae.training.loop import train_epoch
    from vae.training.run import Run

    start("cpu", "train.device")
    images = load_images("data/test.safetensors")
    images = replace(images, pixels=images.pixels[:2048], labels=images.labels[:2048])
    hidden = size if what == "units of the first hidden layer" else 512
    latent = size if what == "latent dimensions" else 12
    batch = size if what == "images a step" else 128
    model = {"hidden_dims": [hidden, 64], "latent_dim": latent, "posterior": "gaussian"}
    run = Run.new(changed(load_params(), model=model, train={"batch_size": batch}), images)

    def work() -> None:
        if what == "importance samples":
            evaluate(run.model, images.pixels, 0, size, generator("cpu", 0, "noise"))
            return
        for _ in range(size if what == "epochs" else 1):
            train_epoch(run, images.pixels, generator("cpu", 0, "noise"), 1)

    seconds = []
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return statistics.median(seconds), peak


def in_a_process(what: str, size: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.scaling", what, str(size)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, peak = map(float, done.stdout.split())
    print(f"{what:32} {size:5} {1e3 * seconds:9.1f} ms {peak:7.0f} MB", flush=True)
    return seconds, peak


def main() -> None:
    if len(sys.argv) > 1:
        print(*measure(sys.argv[1], int(sys.argv[2])))
        return

    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 5.2), dpi=90, layout="constrained")
    above, below = figure.subplots(2, len(POINTS), sharex="col", sharey="row")
    for time_axes, memory_axes, (what, sizes) in zip(above, below, POINTS.items(), strict=True):
        seconds, peaks = zip(*(in_a_process(what, size) for size in sizes), strict=True)
        if what not in ("images a step", "latent dimensions"):
            line = [seconds[-1] * size / sizes[-1] for size in sizes]
            time_axes.plot(sizes, line, "--", color="grey", label="in proportion")
            time_axes.legend(fontsize=8)
        time_axes.plot(sizes, seconds, "o-")
        time_axes.set(xscale="log", yscale="log")
        memory_axes.plot(sizes, peaks, "o-", color="tab:orange")
        memory_axes.set(xscale="log", xlabel=what, ylim=(0, 1000))
        memory_axes.set_xticks(sizes, map(str, sizes))
        memory_axes.minorticks_off()
    above[0].set_ylabel("seconds for 2,048 images")
    below[0].set_ylabel("peak memory, MB")
    Path("docs").mkdir(exist_ok=True)
    figure.savefig("docs/scaling.png")


if __name__ == "__main__":
    main()
