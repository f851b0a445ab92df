"""When several processes pay: `python -m benchmarks.processes` (ten minutes).

Prints the seconds of an epoch of `python -m stages.train` in a worktree of HEAD, with validation
and checkpoint: of one process that uses all threads, and of two that share them.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.against import stage

EPOCHS = 3  # the first is not counted
CASES = {
    "mlp 512-64": {},
    "mlp 1000-1000": {"hidden_dims": [1000, 1000], "latent_dim": 40},
    "conv 16": {"network": "conv", "latent_dim": 40},
}
BATCHES = 128, 1024


def seconds(folder: Path, model: dict, batch: int, shards: int, processes: int) -> float:
    """Seconds of an epoch."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["model"] |= {"network": "mlp", "hidden_dims": [512, 64], "latent_dim": 12} | model
    params["train"] |= {
        "batch_size": batch, "shards": shards, "epochs": EPOCHS, "numerics": "native",
    }  # fmt: skip
    path.write_text(yaml.safe_dump(params))
    env = os.environ | ({"TORCHRUN": f"--nproc-per-node={processes}"} if processes > 1 else {})
    command = [sys.executable, "-u", "-m", "stages.train"]
    with subprocess.Popen(command, cwd=folder, env=env, stdout=-1, text=True) as training:
        ends = [time.perf_counter() for _ in training.stdout]
    return (ends[-1] - ends[0]) / (EPOCHS - 1)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "head")
        command = ["git", "worktree", "add", "--quiet", "--detach", str(folder), "HEAD"]
        subprocess.run(command, check=True)
        stage("prepare", folder)
        print(
            "network         images a step   1 process   2 shards   2 processes   seconds an epoch"
        )
        for name, model in CASES.items():
            for batch in BATCHES:
                times = [seconds(folder, model, batch, *how) for how in [(1, 1), (2, 1), (2, 2)]]
                row = "   ".join(f"{t:{w}.1f}" for t, w in zip(times, (9, 8, 11), strict=True))
                print(f"{name:15} {batch:13}   {row}", flush=True)
        subprocess.run(["git", "worktree", "remove", "--force", str(folder)], check=True)


if __name__ == "__main__":
    main()
