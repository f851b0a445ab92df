"""dvc.yaml names everything that a stage depends on, and dvc.lock is of the committed files."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml

from tests.project import ROOT, committed
from vae.data import DATASETS
from vae.model import NETWORKS, POSTERIORS, PRIORS

STAGES = ["prepare", "train", "evaluate", "sample"]
TABLES = {
    "NETWORKS": NETWORKS, "POSTERIORS": POSTERIORS, "PRIORS": PRIORS, "DATASETS": DATASETS
}  # fmt: skip


def imports(module: str) -> set[str]:
    """The project's files that a stage's file imports, directly or not."""
    found, pending = set(), [f"stages/{module}.py"]
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            folders = Path(path).parents[:-1]
            pending += [f"{folder}/__init__.py" for folder in folders]
            text = (ROOT / path).read_text()
            names = re.findall(r"^from ((?:stages|vae)[.\w]*) import", text, re.M)
            for table in re.findall(r"resolve_name\((\w+)\[", text):
                names += [place.split(":")[0] for place in TABLES[table].values()]
            for name in names:
                place = name.replace(".", "/")
                pending.append(
                    f"{place}.py" if (ROOT / f"{place}.py").exists() else f"{place}/__init__.py"
                )
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_what_it_imports(stage):
    definition = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]
    code = [Path(path) for path in definition["deps"] if path.startswith(("stages/", "vae/"))]
    needed = {Path(path) for path in imports(stage)}
    for path in needed:
        assert {path, *path.parents} & set(code), f"{path} is missing"
    for dependency in code:
        assert any(dependency in {path, *path.parents} for path in needed), (
            f"{dependency} is not used"
        )
    assert definition["desc"]


def listing(folder: Path) -> bytes:
    """DVC's digest of a folder."""
    entries = [
        {
            "md5": hashlib.md5(path.read_bytes()).hexdigest(),
            "relpath": str(path.relative_to(folder)),
        }
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).parts)
        if path.is_file() and "__pycache__" not in path.parts
    ]
    return json.dumps(entries).encode()


def test_the_committed_lock_is_that_of_the_committed_parameters_and_code():
    """dvc.lock, metrics/ and plots/ in the repository belong to the default parameters."""
    lock = yaml.safe_load(committed("dvc.lock"))["stages"]
    params = yaml.safe_load(committed("params.yaml"))
    for stage in lock.values():
        for section, values in stage["params"]["params.yaml"].items():
            assert values == params[section]
        for dependency in stage["deps"]:
            if dependency["path"].endswith(".py"):
                content = (ROOT / dependency["path"]).read_bytes()
            elif dependency["path"].startswith("vae/"):
                content = listing(ROOT / dependency["path"])
            else:
                continue
            found = hashlib.md5(content).hexdigest()
            assert found == dependency["md5"].removesuffix(".dir"), dependency["path"]
