"""dvc.yaml names everything that a stage depends on."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import datasets
import vae.model
import vae.training
from tests.project import OUTPUTS, ROOT

ROOMS = "stages", "pipeline", "datasets", "vae"
TABLES = vars(vae.model) | vars(vae.training) | vars(datasets)


def named(text: str) -> Iterator[str]:
    """The modules that a file imports or, from one of the tables, resolves; and other names."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield node.module
    if "resolve_name" in text:
        for table in re.findall(r"\b([A-Z]+)(?:\[|\.items\(|\.values\()", text):
            yield from (place.split(":")[0] for place in TABLES.get(table, {}).values())


def needed(path: str, found: set[Path]) -> set[Path]:
    """The project's files that a file needs, directly or not, and it, with those `found` before."""
    if (ROOT / path).exists() and Path(path) not in found:
        found.add(Path(path))
        for folder in Path(path).parents[:-1]:
            needed(f"{folder}/__init__.py", found)
        for name in named((ROOT / path).read_text()):
            if name.partition(".")[0] in ROOMS:
                place = name.replace(".", "/")
                needed(f"{place}.py", found)
                needed(f"{place}/__init__.py", found)
    return found


@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_stage_depends_on_what_it_imports_and_on_no_other_code(stage):
    definition = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]
    code = {path for path in map(Path, definition["deps"]) if path.parts[0] in ROOMS}
    files = needed(f"stages/{stage}.py", set())
    assert [path for path in files if not {path, *path.parents} & code] == []
    assert code - {folder for path in files for folder in (path, *path.parents)} == set()
    assert definition["desc"]
