"""A worker runs one experiment, from the clone to the published result.

Two workers may run the same experiment, even at once, because Dask starts a task anew when it loses
a connection while the first may still run. The result is published once.
"""

import json
import time

from report.git import git
from sweeps.exchange import Exchange
from sweeps.grid import Experiment
from sweeps.slot import Slot, take_slot
from vae.errors import UserError

PAUSES = 0, 2, 10, 30  # seconds before each attempt to publish


def work(exchange: Exchange, experiment: Experiment) -> str:
    """Runs and publishes `experiment`, unless it is published. Returns what became of it."""
    began = time.monotonic()
    if exchange.published(experiment.name):
        return "published before"
    with take_slot(exchange, experiment.name) as slot:
        settings = [part for override in experiment.overrides for part in ("-S", override)]
        slot.run("dvc", "exp", "run", "--name", experiment.name, *settings)
        elbo = json.loads((slot.clone / "metrics" / "test.json").read_text())["elbo"]
        publish(slot, exchange, experiment.name)
    return f"test ELBO {elbo:.2f}, {time.monotonic() - began:.0f} s"


def publish(slot: Slot, exchange: Exchange, name: str) -> None:
    """Publishes the slot's experiment. Its data goes first, so that nobody finds an experiment
    without data: `dvc exp push` sends the reference first, and succeeds when it sent nothing.

    The same experiment, run again, has another date, and so another commit; its files are the same.
    """
    ref = exchange.reference(name)
    ours = git("rev-parse", ref, folder=slot.clone)
    for pause in PAUSES:
        time.sleep(pause)
        try:
            if "remote" in exchange.dvc:
                slot.run("dvc", "push")
            theirs = exchange.published(name).get(name)
            if theirs is None:  # to make the reference; never to move it
                lease = f"--force-with-lease={ref}:"
                slot.run("git", "push", lease, exchange.git, f"{ours}:{ref}")
            break
        except UserError:
            if pause == PAUSES[-1]:
                raise
    if theirs:
        git("fetch", "--quiet", exchange.git, ref, folder=slot.clone)
        if differing := git("diff", "--name-only", ours, theirs, folder=slot.clone).split():
            raise UserError(
                f"another result is published under this name ({differing[0]} differs).\n"
                f"To replace it, delete it and run again: git push {exchange.git} :{ref}"
            )
    git("update-ref", "-d", ref, folder=slot.clone)
