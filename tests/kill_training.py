"""Trains in child processes and kills them at random moments, until one reaches the end.

Run in a project's folder: python -m tests.kill_training KILLS SEED. Prints a line for each kill:
the epochs in training.csv when it came, and those the next child says it goes on from.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from stages import train
from vae.common.stage import run_stage

CURVES, OUTPUT = Path("plots/training.csv"), Path("output.tmp")


def child() -> int:
    """Starts training in a fork, in which torch is already loaded. That saves seconds."""
    CURVES.unlink(missing_ok=True)
    OUTPUT.write_text("")
    process = os.fork()
    if process == 0:
        os.dup2(os.open(OUTPUT, os.O_WRONLY), 1)
        run_stage("train", train.main)
        sys.stdout.flush()
        os._exit(0)
    return process


def rows() -> int:
    return len(CURVES.read_text().splitlines()) - 1 if CURVES.exists() else 0


def gone_on_from() -> int:
    words = OUTPUT.read_text().split()
    return int(words[words.index("of") - 1]) if words[:2] == ["going", "on"] else 0


def main() -> None:
    kills, random_ = int(sys.argv[1]), random.Random(int(sys.argv[2]))
    finished = 0
    for _ in range(kills):
        process = child()
        while not OUTPUT.read_text():  # until there is something to lose
            time.sleep(0.001)
        time.sleep(random_.uniform(0, 0.15))
        before = rows()
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        if not os.WIFSIGNALED(status):
            sys.exit("training ended before it was killed: give it more epochs")
        print(finished, gone_on_from(), flush=True)
        finished = max(before, rows())
    process = child()
    _, status = os.waitpid(process, 0)
    print(finished, gone_on_from())
    OUTPUT.unlink()
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
