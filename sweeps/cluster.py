"""Dask workers on this machine, or a scheduler whose workers are anywhere."""

import ipaddress
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from sweeps.exchange import Exchange
from sweeps.grid import Experiment
from sweeps.work import Outcome, work
from vae.common.errors import UserError

try:
    import dask
    from distributed import Client, KilledWorker, LocalCluster, Security, as_completed
except ModuleNotFoundError as error:
    raise UserError(
        f"sweeps over workers need {error.name}.\nInstall it: pip install -e '.[sweep]'"
    ) from None

CONNECT_SECONDS = 20
SETTINGS = {
    # A death counts against the tasks that wait at the worker too; with 1, none wait there.
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.allowed-failures": 3,
    # Pages for a browser, which would be for every user of this machine.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


@contextmanager
def workers_here(number: int) -> Iterator[Client]:
    """`number` worker processes. They end with this process, however it ends.

    They speak TLS with a certificate of their own: whoever reaches a scheduler can run code on
    it, and other users of this machine reach its loopback.
    """
    with (
        dask.config.set(SETTINGS),
        LocalCluster(
            n_workers=number,
            threads_per_worker=1,
            memory_limit=0,  # it would count the worker without what it starts
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs="CRITICAL",
            security=True,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def check_address(address: str) -> None:
    """Raises UserError unless `address` uses TLS or stays on this machine."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise UserError(f"--scheduler {address} is not an address; write it as tls://HOST:8786")
    if parts.scheme == "tls" or (parts.scheme == "tcp" and _is_loopback(host)):
        return
    raise UserError(
        f"--scheduler {address} is neither TLS nor on this machine; whoever reaches a scheduler "
        f"runs code on it.\nUse tls:// (docs/sweeps.md), or a tunnel (ssh -L) to tcp://127.0.0.1"
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def scheduler(address: str, ca: str | None, cert: str | None, key: str | None) -> Iterator[Client]:
    """A scheduler that somebody started. `ca`, `cert` and `key` are files; without them, Dask's
    own configuration is asked.
    """
    check_address(address)
    for file in filter(None, (ca, cert, key)):
        if not os.access(file, os.R_OK):
            raise UserError(
                f"{file} is missing or cannot be read; --tls-… name a file in PEM format"
            )
    files = {"tls_ca_file": ca, "tls_client_cert": cert, "tls_client_key": key}
    security = Security(**{name: file for name, file in files.items() if file})
    if address.startswith("tls") and not (security.tls_ca_file and security.tls_client_cert):
        raise UserError(
            f"{address} needs certificates: --tls-ca FILE --tls-cert FILE --tls-key FILE.\n"
            f"docs/sweeps.md says how to make them"
        )
    try:
        client = Client(address, security=security, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:  # also of TLS: a wrong certificate, a missing file
        reason = " ".join(str(error).split())[:150]
        raise UserError(
            f"no scheduler answers at {address} ({reason}).\nStart one, or see docs/sweeps.md"
        ) from None
    with client:
        _check_project(client, address)
        yield client


def _check_project(client: Client, address: str) -> None:
    """Raises UserError if the scheduler or a worker cannot import this package. Such a worker would
    silently leave at the first experiment.
    """
    try:
        client.run_on_scheduler(exec, "import sweeps.work")
        ready = client.run(exec, "import sweeps.work")
    except ModuleNotFoundError as error:
        raise UserError(
            f"the scheduler {address} or a worker of it has no module {error.name}.\n"
            f"Start each in the root of a clone, with its environment: PYTHONPATH=. dask ..."
        ) from None
    if not ready:
        print(f"{address} has no workers yet; waiting for some", flush=True)


def drive(
    client: Client, exchange: Exchange, experiments: Sequence[Experiment]
) -> Iterator[Outcome]:
    """The outcome of each experiment, in the order in which they end.

    If a worker dies, Dask runs its experiment again, up to four times. An experiment that fails is
    not run again.
    """
    futures = {
        client.submit(work, exchange, experiment, key=experiment.name): experiment
        for experiment in experiments
    }
    for future in as_completed(futures):
        experiment = futures[future]
        try:
            yield future.result()
        except KilledWorker:
            yield Outcome(experiment, 0, failure="four workers died on it, the last without a word")
        except Exception as error:  # a bug, or a scheduler that is gone
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            yield Outcome(experiment, 0, failure=reason)
