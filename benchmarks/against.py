"""Training beside another commit's: `python -m benchmarks.against REVISION` (five minutes).

Runs `python -m stages.train` with the defaults at three batch sizes, in a worktree of each commit,
by turns. Prints the median seconds of each, start and validation included, and the median ratio of
the pairs.
"""

import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.ours import stage

EPOCHS = {32: 3, 128: 6, 320: 8}  # by images a step
PAIRS = 3


def set_training(folder: Path, batch_size: int, epochs: int) -> None:
    path = folder / "params.yaml"
    text = re.sub(r"batch_size: \d+", f"batch_size: {batch_size}", path.read_text())
    path.write_text(re.sub(r"\bepochs: \d+", f"epochs: {epochs}", text))


def main() -> None:
    revisions = [sys.argv[1], "HEAD"]
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary, f"{i}") for i in range(2)]
        for folder, revision in zip(folders, revisions, strict=True):
            command = ["git", "worktree", "add", "--quiet", "--detach", str(folder), revision]
            subprocess.run(command, check=True)
            stage("prepare", folder)
        for batch_size, epochs in EPOCHS.items():
            for folder in folders:
                set_training(folder, batch_size, epochs)
            pairs = [[stage("train", folder) for folder in folders] for _ in range(PAIRS)]
            seconds = [statistics.median(its) for its in zip(*pairs, strict=True)]
            ratio = statistics.median(here / there for there, here in pairs)
            print(f"batch {batch_size:4}, {epochs} epochs   {revisions[0]} {seconds[0]:6.1f} s   "
                  f"HEAD {seconds[1]:6.1f} s   ratio {ratio:.2f}", flush=True)  # fmt: skip
        for folder in folders:
            command = ["git", "worktree", "remove", "--force", str(folder)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
