"""The driver finds which experiments are missing, has them run, and collects their results."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from tqdm import tqdm

from sweeps.exchange import Exchange
from sweeps.grid import Experiment
from sweeps.references import published
from vae.common.errors import UserError

AT_ONCE = 1000  # experiments that are pulled by one command; its length has a limit


def sweep(
    exchange: Exchange,
    experiments: Sequence[Experiment],
    connect: Callable[[int], AbstractContextManager],
) -> None:
    """Runs those of `experiments` that are not published, on the workers of `connect`."""
    done = published(exchange.git, exchange.commit)
    missing = [experiment for experiment in experiments if experiment.name not in done]
    total = len(experiments)
    print(f"{total} experiments, {total - len(missing)} published before", flush=True)
    if missing:
        if exchange.dvc_remote:  # or each machine would download and prepare the images
            _dvc("push", "--remote", exchange.dvc_remote)
        done |= _run(exchange, missing, connect)
    names = [experiment.name for experiment in experiments if experiment.name in done]
    if exchange.dvc_remote:
        # Not their data, gigabytes of models: `dvc exp pull` brings that of one when it is wanted.
        for some in range(0, len(names), AT_ONCE):
            _dvc("exp", "pull", "--no-cache", exchange.git, *names[some : some + AT_ONCE])
    print(f"{len(names)} of {total} are here. See: dvc exp show --only-changed")
    if len(names) < total:
        sys.exit(f"error: {total - len(names)} failed. This again tries them again")


def _run(
    exchange: Exchange,
    missing: Sequence[Experiment],
    connect: Callable[[int], AbstractContextManager],
) -> set[str]:
    """The names of the experiments that succeeded. Prints a line for each, and a progress bar."""
    succeeded = set()
    with (
        connect(len(missing)) as client,
        tqdm(total=len(missing), unit="experiment", disable=None) as bar,
    ):
        from sweeps.cluster import drive

        for outcome in drive(client, exchange, missing):
            bar.write(str(outcome))
            bar.update()
            if not outcome.failure:
                succeeded.add(outcome.experiment.name)
    return succeeded


def _dvc(*arguments: str) -> None:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = " ".join(done.stderr.split())[-300:]
        raise UserError(f"dvc {' '.join(arguments[:3])} failed: {reason}")
