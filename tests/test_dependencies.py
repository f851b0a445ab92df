"""dvc.yaml names the code that a stage runs."""

from pathlib import Path

import pytest
import yaml

from pipeline.begin import CODE
from tests.project import OUTPUTS, ROOT


@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_stage_depends_on_the_code_that_it_loads_and_on_no_other(stages, stage):
    definition = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]
    code = {path for path in map(Path, definition["deps"]) if path.parts[0] in CODE}
    first = f"import stages.{stage}; from pipeline.begin import LOADED; print(*LOADED, sep='|')"
    said = stages.run(stage, first=f"{first}; raise SystemExit")["stdout"].strip()
    loaded = [Path(path).relative_to(stages.project.folder) for path in said.split("|")]
    assert [path for path in loaded if not {path, *path.parents} & code] == []
    assert code - {folder for path in loaded for folder in (path, *path.parents)} == set()
    assert definition["desc"]
