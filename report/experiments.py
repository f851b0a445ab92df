"""The repository's other experiments beside the workspace, as DVC lists them."""

import math
import re
from dataclasses import dataclass

import dvc.api
from dvc.exceptions import DvcException

from report.differences import is_beyond
from report.git import git, in_repository
from report.results import METRICS
from vae.errors import UserError, in_short, without_passwords

ALWAYS = [metric for metric in METRICS if metric != "bits_per_dimension"]  # early commits lack it


@dataclass(frozen=True)
class Experiment:
    name: str
    state: str  # why it has no metrics: failed, queued, running, or no metrics
    changes: dict[str, str]  # parameters that differ from the workspace's
    metrics: dict[str, float] | None
    images: tuple[object, ...]  # the data set, its binarization, whether classes are known


def commit() -> str:
    """The Git commit, and whether the project differs from it."""
    head = _head()
    if head is None:
        return "no Git commit"
    name = git("rev-parse", "--short", head)
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
    return f"commit {name}, with uncommitted changes" if changed else f"commit {name}"


def compared(parameters: list[str]) -> list[Experiment] | None:
    """The workspace, then every experiment, and of the commits that experiments start from those
    with other metrics. `parameters`: the names to compare. None without a Git commit, from which
    DVC's experiments start.
    """
    head = _head()
    if head is None:
        return None
    try:
        rows = dvc.api.exp_show(revs=_baselines(head))
    except DvcException as error:
        raise UserError(
            f"DVC cannot list the experiments ({in_short(error)}).\nSee: dvc exp show"
        ) from None
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


def comparable(experiments: list[Experiment]) -> list[Experiment]:
    """The experiments that measure the same as the first, the workspace's. Numbers of another data
    set or binarization, and log p(x|y) beside log p(x), mean something else.
    """
    return [one for one in experiments if one.metrics and one.images == experiments[0].images]


def differences(experiments: list[Experiment]) -> list[str]:
    """How each test ELBO differs from the first, and whether the difference exceeds the errors."""
    return [_difference(one, experiments[0]) for one in experiments]


def _difference(one: Experiment, first: Experiment) -> str:
    if one is first or not (one.metrics and first.metrics):
        return ""
    if one.images != first.images:
        return "not comparable"
    difference = one.metrics["elbo"] - first.metrics["elbo"]
    error = math.hypot(one.metrics["elbo_stderr"], first.metrics["elbo_stderr"])
    words = "beyond the errors" if is_beyond(difference, error) else "within the errors"
    return f"{difference:+.2f}, {words}".replace("-", "−")


def _experiment(name: str, row: dict, workspace: dict, parameters: list[str]) -> Experiment:
    values = {parameter: _cell(row, "params.yaml", parameter) for parameter in parameters}
    changes = {
        parameter: _words(value)
        for parameter, value in values.items()
        if value not in (None, _cell(workspace, "params.yaml", parameter))
    }
    metrics = {metric: _cell(row, "metrics/test.json", metric) for metric in ALWAYS}
    whole = all(isinstance(value, float) and math.isfinite(value) for value in metrics.values())
    finished = row["State"] in (None, "Success")  # else the metrics are those it started from
    dataset = _cell(row, "metrics/test.json", "dataset") or "MNIST"  # once there was no other
    conditional = bool(_cell(row, "metrics/test.json", "conditional"))  # written if true
    images = dataset, _cell(row, "metrics/test.json", "binarization"), conditional
    state = "no metrics" if finished else row["State"].lower()
    return Experiment(name, state, changes, metrics if whole and finished else None, images)


def _cell(row: dict, file: str, name: str) -> float | str | None:
    """DVC adds the file to the name of a column if another file has a column of that name."""
    return row.get(name, row.get(f"{file}:{name}"))


def _words(value: float | str) -> str:
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if is_whole else without_passwords(str(value))


def _head() -> str | None:
    """The present commit; None outside a repository, and if the commit has no dvc.yaml here: before
    the first commit, or in a folder that the repository around it does not keep.
    """
    if not in_repository():
        return None
    kept = git("rev-parse", "--verify", "--quiet", "HEAD:./dvc.yaml", exits=(0, 1))
    return git("rev-parse", "HEAD") if kept else None


def _baselines(head: str) -> list[str]:
    """The commits that experiments start from, the present one first."""
    refs = git("for-each-ref", "--format=%(refname)", "refs/exps")
    # refs/exps/<2 digits of the commit>/<the other 38>/<name of the experiment>
    starts = re.findall("^refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/", refs, re.M)
    return list(dict.fromkeys([head, *map("".join, starts)]))
