"""What in the workspace is not of the runs that dvc.lock records."""

import hashlib
import json
from operator import itemgetter
from pathlib import Path

from pipeline.reading import flat, load_yaml
from report.markdown import code
from vae.errors import UserError


def mixture() -> str | None:
    """A sentence, as HTML, that names what does not belong to the rest; None if everything does, or
    if there is no dvc.lock. Raises UserError if that is damaged.
    """
    if not Path("dvc.lock").exists():
        return None
    locked, present = load_yaml("dvc.lock"), load_yaml("dvc.yaml")
    try:  # the lock keeps stages that were removed or renamed
        stages = [
            stage
            for name, stage in locked["stages"].items()
            if name.partition("@")[0] in present["stages"]
        ]
        names = sorted(_parameters(stages)) + sorted(_outputs(stages))
    except (AttributeError, KeyError, TypeError):
        raise UserError(
            "dvc.lock is damaged: it is not as DVC writes it.\n"
            "Get it back: git checkout HEAD -- dvc.lock"
        ) from None
    if not names:
        return None
    return (
        f"Not everything here is of one run: dvc.lock records something else for "
        f"{', '.join(map(code, names))}; run <code>dvc repro</code>, or <code>dvc checkout</code> "
        f"if you changed the branch."
    )


def _parameters(stages: list[dict]) -> set[str]:
    """Those that differ from what a stage ran with."""
    here, differ = flat(load_yaml("params.yaml")), set()
    for stage in stages:
        sections = stage.get("params", {}).get("params.yaml", {})
        then = flat(sections)
        known = then.keys() | {name for name in here if name.partition(".")[0] in sections}
        differ |= {name for name in known if then.get(name) != here.get(name)}
    return differ


def _outputs(stages: list[dict]) -> list[str]:
    """Those that differ from what a stage wrote or took. One that is missing is no other run's."""
    recorded = {out["path"]: set() for stage in stages for out in stage.get("outs", [])}
    for stage in stages:
        for entry in stage.get("deps", []) + stage.get("outs", []):
            if entry["path"] in recorded:
                recorded[entry["path"]].add(entry.get("md5"))
    paths = [path for path in recorded if Path(path).exists()]
    return [path for path in paths if recorded[path] != {_md5(Path(path))}]


def _md5(path: Path) -> str:
    """As in dvc.lock, where a folder has the digest of the list of its files."""
    if path.is_dir():
        files = [
            {"md5": _md5(file), "relpath": file.relative_to(path).as_posix()}
            for file in path.rglob("*")
            if file.is_file()
        ]
        files.sort(key=itemgetter("relpath"))
        return hashlib.md5(json.dumps(files).encode()).hexdigest() + ".dir"
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
