"""Runs a DVC experiment for each combination of parameter values: docs/sweeps.md."""

import argparse

from pipeline.stage import run
from sweeps.exchange import find_exchange, head
from sweeps.grid import grid
from sweeps.work import work
from vae.errors import UserError


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sweeps", description=__doc__)
    text = "values of a parameter, as for dvc exp run --queue; once for each parameter"
    option = {"action": "append", "required": True, "dest": "settings", "metavar": "NAME=VALUES"}
    parser.add_argument("-S", "--set-param", **option, help=text)
    text = "a Git remote or URL: workers clone it, and results go there (default: this repository)"
    parser.add_argument("--git-remote", metavar="NAME", help=text)
    how = parser.add_mutually_exclusive_group()
    text = "run N experiments at a time on this machine (default: 2)"
    how.add_argument("--workers", type=int, default=2, metavar="N", help=text)
    text = "let workers of a Dask scheduler run them (tls://HOST:PORT); the Git remote is origin"
    how.add_argument("--scheduler", metavar="ADDRESS", help=text)
    how.add_argument("--list", action="store_true", help="print the experiments, numbered from 0")
    how.add_argument("--run", type=int, metavar="INDEX", help="run one, in this process")
    return parser.parse_args()


def main() -> None:
    chosen = arguments()
    commit = head()
    experiments = grid(chosen.settings, commit)
    if chosen.list:
        print("\n".join(f"{index:4}  {its}" for index, its in enumerate(experiments)))
        return
    exchange = find_exchange(commit, chosen.git_remote or ("origin" if chosen.scheduler else None))
    if chosen.run is not None:
        if not 0 <= chosen.run < len(experiments):
            raise UserError(f"--run {chosen.run}: the experiments are 0 to {len(experiments) - 1}")
        print(f"{experiments[chosen.run]}  {work(exchange, experiments[chosen.run])}")
        return
    try:
        from sweeps.cluster import sweep  # not before it is needed: the rest does without Dask
    except ModuleNotFoundError as error:
        raise UserError(
            f"sweeps over workers need {error.name}.\nInstall it: pip install -e '.[sweep]'"
        ) from None
    sweep(exchange, experiments, chosen.scheduler, chosen.workers)


if __name__ == "__main__":
    run(main)
