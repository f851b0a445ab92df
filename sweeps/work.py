"""A worker runs one experiment, from the clone to the published result.

Two workers may run the same experiment, even at once, because Dask starts a task anew when it loses
a connection while the first may still run. The result is published once.
"""

import json
import time
from dataclasses import dataclass

from sweeps.exchange import Exchange
from sweeps.grid import Experiment
from sweeps.references import reference, remote_references
from sweeps.slot import CommandFailed, Slot, take_slot
from vae.common.errors import UserError
from vae.common.git import git

PAUSES = 0, 2, 10, 30  # seconds before each attempt to publish


@dataclass(frozen=True)
class Outcome:
    experiment: Experiment
    seconds: float
    elbo: float | None = None  # of the test images
    failure: str = ""  # why, if there is no result

    def __str__(self) -> str:
        if self.failure:
            return f"{self.experiment}  failed: {self.failure}"
        elbo = "published before" if self.elbo is None else f"test ELBO {self.elbo:.2f}"
        return f"{self.experiment}  {elbo}, {self.seconds:.0f} s"


def work(exchange: Exchange, experiment: Experiment) -> Outcome:
    """Runs and publishes `experiment`, unless it is published."""
    began = time.monotonic()
    ref = reference(exchange.commit, experiment.name)
    elbo = None
    try:
        if not remote_references(exchange.git, ref):
            with take_slot(exchange, experiment.name) as slot:
                elbo = _run(slot, experiment)
                publish(slot, exchange, ref)
    except (UserError, OSError) as error:
        return Outcome(experiment, time.monotonic() - began, failure=str(error))
    return Outcome(experiment, time.monotonic() - began, elbo)


def _run(slot: Slot, experiment: Experiment) -> float:
    settings = [part for override in experiment.overrides for part in ("-S", override)]
    slot.dvc("exp", "run", "--name", experiment.name, *settings)
    return json.loads((slot.clone / "metrics" / "test.json").read_text())["elbo"]


def publish(slot: Slot, exchange: Exchange, ref: str) -> None:
    """Publishes the slot's experiment. Its data goes first, so that nobody finds an experiment
    without data.

    `dvc exp push` sends the reference first, and succeeds when it sent nothing. Here a look at
    the remote decides. The same experiment, run again, has another date, and so another commit;
    its files are the same.
    """
    ours = git("rev-parse", ref, folder=slot.clone)
    for pause in PAUSES:
        time.sleep(pause)
        try:
            if exchange.dvc_remote:
                slot.dvc("push", "--remote", exchange.dvc_remote)
            # To make the reference; never to move it.
            slot.run("git", "push", f"--force-with-lease={ref}:", exchange.git, f"{ours}:{ref}")
        except CommandFailed as error:
            reason = error
        try:
            theirs = remote_references(exchange.git, ref).get(ref)
        except UserError as error:
            theirs, reason = None, error
        if theirs:
            _compare(slot, exchange, ours, ref, theirs)
            git("update-ref", "-d", ref, folder=slot.clone)
            return
    raise UserError(f"the result could not be published: {reason}")


def _compare(slot: Slot, exchange: Exchange, ours: str, ref: str, theirs: str) -> None:
    """Raises UserError if the published result differs from ours."""
    if theirs == ours:
        return
    git("fetch", "--quiet", exchange.git, ref, folder=slot.clone)
    if differing := git("diff", "--name-only", ours, theirs, folder=slot.clone).split():
        files = ", ".join(differing[:3])
        raise UserError(
            f"another result is published under this name ({files} differ).\n"
            f"Numerics that are native differ between machines. To replace it, delete it and run "
            f"again: git push {exchange.git} :{ref}"
        )
