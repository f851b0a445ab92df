"""The repository's other experiments beside the workspace, as DVC lists them."""

import math
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import dvc.api
from dvc.exceptions import DvcException

from stages.errors import UserError

METRICS = [
    "elbo", "elbo_stderr", "log_likelihood", "log_likelihood_stderr", "importance_samples", "kl",
    "active_units",
]  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    name: str
    state: str  # of one without metrics: failed, queued, running, or no metrics
    changes: dict[str, str]  # parameters that differ from the workspace's
    metrics: dict[str, float] | None
    binarization: str | None


def commit() -> str:
    """The Git commit, and whether the workspace differs from it."""
    if not Path(".git").exists():
        return "not in a Git repository"
    try:
        name = _git("rev-parse", "--short", "HEAD").strip()
    except UserError:  # a repository whose first commit is still to come
        return "not committed"
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return f"commit {name}, with uncommitted changes" if changed else f"commit {name}"


def compared(parameters: list[str]) -> list[Experiment] | None:
    """The workspace, then every experiment, and of the commits that experiments start from those
    with other metrics. `parameters`: the names to compare. None without Git, which DVC's
    experiments need.
    """
    if not Path(".git").exists():
        return None
    try:
        rows = dvc.api.exp_show(revs=_baselines())
    except DvcException as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"DVC cannot list the experiments ({reason}).\nSee: dvc exp show") from None
    return select(rows, parameters)


def select(rows: list[dict], parameters: list[str]) -> list[Experiment]:
    """The experiments of `compared` from the rows of `dvc.api.exp_show`."""
    workspace = next(row for row in rows if row["rev"] == "workspace")
    here = _experiment("workspace", workspace, workspace, parameters)
    found = [here]
    for row in rows:
        name = row["Experiment"] or row["rev"]
        experiment = _experiment(name, row, workspace, parameters)
        is_new_commit = experiment.metrics not in (None, here.metrics)
        if row is not workspace and (row["Experiment"] or is_new_commit):
            found.append(experiment)
    return found


def _experiment(name: str, row: dict, workspace: dict, parameters: list[str]) -> Experiment:
    values = {parameter: _cell(row, "params.yaml", parameter) for parameter in parameters}
    changes = {
        parameter: _words(value)
        for parameter, value in values.items()
        if value not in (None, _cell(workspace, "params.yaml", parameter))
    }
    metrics = {metric: _cell(row, "metrics/test.json", metric) for metric in METRICS}
    whole = all(isinstance(value, float) and math.isfinite(value) for value in metrics.values())
    binarization = _cell(row, "metrics/test.json", "binarization")
    state = (row["State"] or "no metrics").lower()
    return Experiment(name, state, changes, metrics if whole else None, binarization)


def _cell(row: dict, file: str, name: str) -> float | str | None:
    """DVC names a column after its file too where another file has the name."""
    return row.get(name, row.get(f"{file}:{name}"))


def _words(value: float | str) -> str:
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if is_whole else str(value)


def _baselines() -> list[str]:
    """The commits that experiments start from, the present one first."""
    head = _git("rev-parse", "HEAD").strip()
    refs = _git("for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    # refs/exps/<2 digits of the commit>/<the other 38>/<name of the experiment>
    starts = re.findall("^refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/", "\n".join(refs), re.M)
    return list(dict.fromkeys([head, *map("".join, starts)]))


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        reason = " ".join(done.stderr.split())[:200]
        raise UserError(f"git {arguments[0]} does not work here: {reason}")
    return done.stdout
