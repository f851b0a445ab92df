"""What the workspace changes since a commit, as Markdown for a pull request:
`python -m report.changes BASE`.
"""

import argparse
import logging
import re
from pathlib import Path
from urllib.parse import quote

from dvc.exceptions import DvcException
from dvc.repo import Repo

from pipeline.stage import run
from report.differences import File, metrics_table
from report.experiments import commit
from report.git import git, in_repository
from report.markdown import cell, code, table
from report.record import mixture
from vae.errors import UserError, in_short

MARKER = "<!-- python -m report.changes -->"  # the workflow finds its comment by this
TEST = "metrics/test.json"
PICTURES = "plots/*.png"


def main() -> None:
    arguments = _arguments()
    base = _resolve(arguments.base)
    metrics, params = _compare(arguments.base, base)
    sections = [
        f"{MARKER}\n## Results: from {base[:7]} to {commit().removeprefix('commit ')}",
        *filter(None, [mixture()]),
        f"### Metrics\n\n{metrics_table(metrics)}",
        f"### Parameters\n\n{_params(params)}",
        f"### Pictures\n\n{_pictures(base, arguments.images)}",
    ]
    print("\n\n".join(sections))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m report.changes", description=__doc__)
    parser.add_argument("base", metavar="BASE", help="the commit to compare with")
    parser.add_argument(
        "--images", metavar="URL", type=_url,
        help="where the pictures are, as URL/COMMIT/plots/NAME.png; on GitHub "
        "https://github.com/OWNER/REPOSITORY/raw (without it they are only named)",
    )  # fmt: skip
    return parser.parse_args()


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s()<>|]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} should be a URL: https://…, without spaces")
    return text.rstrip("/")


def _resolve(name: str) -> str:
    """The commit of that name. Raises UserError if there is no such commit or no repository."""
    if not in_repository():
        raise UserError(
            "there is no Git repository here, and so no commit to compare with.\n"
            "Run this in the project's folder of a clone"
        )
    try:
        return git("rev-parse", "--verify", f"{name}^{{commit}}")
    except UserError:
        raise UserError(
            f"BASE = {name!r} is no commit of this repository.\n"
            f"Fetch it (git fetch origin), or choose one of: git log --oneline --all"
        ) from None


def _compare(name: str, base: str) -> tuple[dict[str, File], dict[str, File]]:
    """All metrics, and the parameters that differ, each by file.

    Raises UserError if some cannot be read now, or if the other commit has no metrics.
    """
    logging.getLogger("dvc").setLevel(logging.ERROR)  # what it would warn of is raised here
    try:
        with Repo() as repo:
            metrics, params = repo.metrics.diff(base, all=True), repo.params.diff(base)
    except DvcException as error:
        raise UserError(f"DVC cannot compare here: {_reason(error)}") from None
    for result in metrics, params:
        if error := result.get("errors", {}).get("workspace"):
            raise UserError(
                f"the workspace's results are not whole: {_reason(error)}.\n"
                f"Make them again: dvc repro"
            )
    test = metrics.get("diff", {}).get(TEST, {}).values()
    if all(value["new"] is None for value in test):
        raise UserError(f"{TEST} is none of the workspace's metrics.\nIs dvc.yaml whole?")
    if all(value["old"] is None for value in test):
        raise UserError(
            f"BASE = {name!r} has no metrics: {TEST} is missing or damaged there.\n"
            f"Choose one of: git log --oneline -- {TEST}"
        )
    return metrics["diff"], params.get("diff", {})


def _reason(error: Exception | dict[str, Exception]) -> str:
    """Why DVC could not read something, in one line; of several files, the first."""
    if isinstance(error, dict):
        path, error = next(iter(error.items()))
        reason = error.strerror if isinstance(error, OSError) else error
        return f"{path}: {_reason(Exception(reason))}"
    return in_short(error)


def _params(files: dict[str, File]) -> str:
    rows = [
        f"{code(name)} | {cell(value['old'])} | {cell(value['new'])}"
        for _, file in sorted(files.items())
        for name, value in sorted(file.items())
    ]
    return table(["", "before", "now"], rows) if rows else "No parameter differs."


def _pictures(base: str, images: str | None) -> str:
    """The pictures in Git that differ. Those that are committed are links."""
    *found, _ = git("diff", "--name-status", "--no-renames", "-z", base, "--", PICTURES).split("\0")
    states = dict(zip(found[1::2], found[::2], strict=True))
    if not states:
        return "No picture differs."
    if images is None:
        names = ", ".join(code(Path(path).stem) for path in states)
        return f"These differ: {names}. `dvc plots diff {base[:7]}` shows them side by side."
    head = git("rev-parse", "HEAD")
    uncommitted = git("diff", "--name-only", "-z", "HEAD", "--", PICTURES).split("\0")
    rows = []
    for path, state in states.items():
        before, now = (f"![]({images}/{at}/{quote(path)})" for at in (base, head))
        before = "" if state == "A" else before  # added
        now = "" if state == "D" else "not committed" if path in uncommitted else now
        rows.append(f"{code(Path(path).stem)} | {before} | {now}")
    return table(["", "before", "now"], rows)


if __name__ == "__main__":
    run(main)
