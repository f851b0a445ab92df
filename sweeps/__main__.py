"""Runs a DVC experiment for each combination of parameter values, on many workers."""

import argparse
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

from sweeps.exchange import head, here, through_remotes
from sweeps.grid import grid
from sweeps.sweep import sweep
from sweeps.work import work
from vae.common.errors import UserError
from vae.common.stage import run

EPILOG = """\
examples:
  python -m sweeps -S 'train.kl_weight=0.5,1,2' -S 'model.hidden_dims=[512,64],[300]' --workers 2
  python -m sweeps -S 'train.seed=range(9)' --list
  python -m sweeps -S 'train.seed=range(9)' --run $SLURM_ARRAY_TASK_ID --git-remote origin

Only what is missing runs: the experiments' names say what they are. docs/sweeps.md has the rest."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sweeps",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "-S",
        "--set-param",
        action="append",
        required=True,
        metavar="NAME=VALUES",
        dest="settings",
        help="values of a parameter, as for dvc exp run --queue; once for each parameter",
    )
    add("--prefix", default="sweep", help="of the experiments' names (default: sweep)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--workers",
        type=int,
        default=2,
        metavar="N",
        help="run N experiments at a time on this machine (default: 2)",
    )
    how.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="let the workers of a Dask scheduler run them: tls://HOST:PORT",
    )
    how.add_argument("--list", action="store_true", help="print the experiments, numbered from 0")
    how.add_argument("--run", type=int, metavar="INDEX", help="run one, in this process")
    add(
        "--git-remote",
        metavar="NAME",
        help="where workers clone, and results go: a Git remote or a URL "
        "(default: this repository; with --scheduler: origin)",
    )
    add(
        "--dvc-remote",
        metavar="NAME",
        help="where data goes, if results go to a Git remote (default: DVC's default)",
    )
    for name, what in ("ca", "the authority"), ("cert", "your certificate"), ("key", "your key"):
        add(f"--tls-{name}", metavar="FILE", help=f"{what}, for a scheduler with tls://")
    return parser.parse_args()  # fmt: skip


def connect(chosen: argparse.Namespace) -> Callable[[int], AbstractContextManager]:
    """A context that starts or finds workers for so many experiments."""

    def connected(experiments: int) -> AbstractContextManager:
        from sweeps import cluster  # not before it is needed: --list and --run do without Dask

        if chosen.scheduler:
            tls = chosen.tls_ca, chosen.tls_cert, chosen.tls_key
            return cluster.scheduler(chosen.scheduler, *tls)
        return cluster.workers_here(min(chosen.workers, experiments))

    return connected


def main() -> None:
    chosen = arguments()
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,49}", chosen.prefix):
        raise UserError(f"--prefix {chosen.prefix}: should be up to 50 letters, digits, - and _")
    commit = head()
    experiments = grid(chosen.settings, chosen.prefix, commit)
    if chosen.list:
        for index, experiment in enumerate(experiments):
            print(f"{index:{len(str(len(experiments) - 1))}}  {experiment}")
        return
    if chosen.run is not None and not 0 <= chosen.run < len(experiments):
        raise UserError(f"--run {chosen.run}: the experiments are 0 to {len(experiments) - 1}")
    if chosen.workers < 1:
        raise UserError(f"--workers {chosen.workers}: at least one is needed")
    git_remote = chosen.git_remote or ("origin" if chosen.scheduler else None)
    if git_remote:
        exchange = through_remotes(commit, git_remote, chosen.dvc_remote)
    else:
        exchange = here(commit)
    if chosen.run is not None:
        outcome = work(exchange, experiments[chosen.run])
        print(outcome)
        sys.exit(bool(outcome.failure))
    sweep(exchange, experiments, connect(chosen))


if __name__ == "__main__":
    run(main)
