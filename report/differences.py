"""How metrics differ between two commits, and which differences their errors cannot explain."""

import math
from pathlib import Path

from report.markdown import cell, code, is_number, number, table

ERRORS = 2  # standard errors that a difference has to exceed
EXPLANATION = (  # in one line: a comment on GitHub keeps line breaks
    "± is the standard error over the test images, of one training each: another `train.seed` "
    f"changes the numbers, too. *Beyond* is a difference of more than {ERRORS}·√(a² + b²), a and b "
    "being the two errors. What is hard for one model is hard for the other, so the difference's "
    "own error is smaller: *beyond* is hardly ever chance of the images, but *within* does not "
    "mean equally good."
)

Difference = dict[str, object]  # as DVC has it: {"old": before, "new": now}, None where absent
File = dict[str, Difference]  # each metric's or parameter's difference, by name


def metrics_table(files: dict[str, File]) -> str:
    rows = [
        f"{code(f'{Path(path).stem}: {name}')} | {_metric(file, name)}"
        for path, file in sorted(files.items())
        for name in _names(file)
        if file[name]["old"] != file[name]["new"]
    ]
    if not rows:
        return "No metric differs."
    return f"{table(['', 'before', 'now', 'difference', ''], rows)}\n\n{EXPLANATION}"


def _names(file: File) -> list[str]:
    """The metrics of a file without the errors. Metrics that have an error come first."""
    errors = {f"{name}_stderr" for name in file}
    return sorted(file.keys() - errors, key=lambda name: (f"{name}_stderr" not in file, name))


def _metric(file: File, name: str) -> str:
    """The cells of a row: before, now, the difference, and whether it exceeds the errors."""
    before, now = file[name]["old"], file[name]["new"]
    if not (is_number(before) and is_number(now)):
        return f"{cell(before)} | {cell(now)} | | "
    error = file.get(f"{name}_stderr", {})
    a, b = error.get("old"), error.get("new")
    if not (is_number(a) and is_number(b)):
        return f"{number(before)} | {number(now)} | {number(now - before, '+')} | "
    return (
        f"{number(before)} ± {number(a)} | {number(now)} ± {number(b)} | "
        f"{number(now - before, '+')} | {_verdict(file, name, now - before, math.hypot(a, b))}"
    )


def _verdict(file: File, name: str, difference: float, error: float) -> str:
    if _differs(file, "dataset") or _differs(file, "binarization"):
        return "not comparable: other images"
    conditional = file.get("conditional", {})  # written if true
    if bool(conditional.get("old")) != bool(conditional.get("new")):
        return "not comparable: log p(x|y) and log p(x)"
    if name == "log_likelihood" and _differs(file, "importance_samples"):
        return "not comparable: more draws raise the bound"
    verdict = "**beyond**" if is_beyond(difference, error) else "within"
    return f"{verdict} {ERRORS} × {number(error)}"


def is_beyond(difference: float, error: float) -> bool:
    """Whether a difference exceeds its `error`, √(a² + b²), by the rule in EXPLANATION."""
    return abs(difference) > ERRORS * error


def _differs(file: File, name: str) -> bool:
    """Whether a condition of the measurement differs. Early commits did not record conditions."""
    before, now = file.get(name, {}).get("old"), file.get(name, {}).get("new")
    return None not in (before, now) and before != now
