"""The driver finds which experiments are missing, and has Dask's workers run them."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dask
from distributed import Client, LocalCluster, as_completed
from tqdm import tqdm

from report.git import git
from sweeps.exchange import Exchange
from sweeps.grid import Experiment
from sweeps.work import work
from vae.errors import UserError


def sweep(
    exchange: Exchange, experiments: Sequence[Experiment], scheduler: str | None, workers: int
) -> None:
    """Runs those of `experiments` that are not published: on the workers of `scheduler`, an
    address, or else on so many `workers` of this machine.
    """
    done = exchange.published()
    missing = [experiment for experiment in experiments if experiment.name not in done]
    total, failed = len(experiments), 0
    print(f"{total} experiments, {total - len(missing)} published before", flush=True)
    if missing:
        there = workers_of(scheduler) if scheduler else workers_here(min(workers, len(missing)))
        with there as client:
            failed = _run(client, exchange, missing)
    # Not their data, gigabytes of models: `dvc exp pull` brings that of one when it is wanted.
    every = exchange.reference("sweep-*")
    git("fetch", "--quiet", "--no-tags", exchange.git, f"+{every}:{every}")
    print(f"{total - failed} of {total} are here. See: dvc exp show --only-changed")
    if failed:
        sys.exit(f"error: {failed} failed. Run the same command again to retry them")


def _run(client: Client, exchange: Exchange, experiments: Sequence[Experiment]) -> int:
    """Prints what becomes of each experiment, and returns how many failed. If a worker dies, Dask
    runs its experiment again, up to four times. An experiment that fails is not run again.
    """
    futures = {client.submit(work, exchange, its, key=its.name): its for its in experiments}
    failed = 0
    for future in tqdm(as_completed(futures), total=len(futures), disable=None):
        try:
            outcome = future.result()
        except UserError as error:
            outcome = f"failed: {error}"
        except Exception as error:  # Dask's: workers died, the scheduler is gone; or a bug
            outcome = f"failed: {error!r}"
        failed += outcome.startswith("failed: ")
        tqdm.write(f"{futures[future]}  {outcome}")
    return failed


@contextmanager
def workers_here(number: int) -> Iterator[Client]:
    """`number` worker processes. They end with this process, however it ends.

    They speak TLS with a certificate of their own: whoever reaches a scheduler can run code on
    it, and other users of this machine reach its loopback.
    """
    if number < 1:
        raise UserError(f"--workers {number}: at least one is needed")
    with (
        # A death counts against the tasks that wait at the worker too; with 1, none wait there.
        dask.config.set({"distributed.scheduler.worker-saturation": 1.0}),
        LocalCluster(
            n_workers=number,
            threads_per_worker=1,
            memory_limit=0,  # it would count the worker without what it starts
            dashboard_address="127.0.0.1:0",
            silence_logs="CRITICAL",
            security=True,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def workers_of(scheduler: str) -> Iterator[Client]:
    """The workers of a scheduler that somebody started. Certificates are Dask's to configure."""
    if not re.fullmatch(r"tls://.+|tcp://(127\.0\.0\.1|localhost|\[::1\]):\d+", scheduler):
        raise UserError(
            f"--scheduler {scheduler} is neither tls://HOST:PORT nor tcp://127.0.0.1:PORT.\n"
            f"Whoever reaches a scheduler runs code on it: docs/sweeps.md says how to use TLS"
        )
    try:
        client = Client(scheduler)
        # A worker that cannot import it would silently leave at the first experiment.
        client.run(exec, "import sweeps.work")
    except (OSError, TypeError, ValueError, ModuleNotFoundError) as error:
        raise UserError(
            f"--scheduler {scheduler} cannot be used ({error!r}).\n"
            f"docs/sweeps.md says how to start it and its workers, and where certificates go"
        ) from None
    with client:
        yield client
