"""Checks at the end of a stage that its inputs have not changed since its start.

DVC reads parameters, data and code after a stage has run. If somebody edited them meanwhile, DVC
would record the new ones for outputs that were made from the old ones.
"""

from pathlib import Path

from pipeline.begin import CODE, LOADED, sha256
from pipeline.reading import flat, load_yaml
from vae.errors import UserError


class Inputs:
    """The parameters and dependencies that dvc.yaml names for a stage.

    Without a dvc.yaml, outside a project, there are none.
    """

    def __init__(self, stage: str):
        self.stage = stage
        self.before = self._now()

    def _now(self) -> dict[str, object]:
        """Each parameter's value, and each file's digest, by name."""
        if not Path("dvc.yaml").exists():
            return {}
        stage = (load_yaml("dvc.yaml") or {}).get("stages", {}).get(self.stage, {})
        params, every = stage.get("params", []), flat(load_yaml("params.yaml") or {})
        sections = [its for its in params if isinstance(its, str)]  # others name other files
        found = {name: every[name] for name in every if name.startswith(tuple(sections))}
        named = {f"${{{name}}}": str(value) for name, value in every.items()}  # in dvc.yaml
        others = [file for its in params if isinstance(its, dict) for file in its]
        for dependency in (Path(named.get(its, its)) for its in [*stage.get("deps", []), *others]):
            # As in .dvcignore: an editor's or a system's file in a folder of code is none of it.
            files = "*.py" if dependency.parts and dependency.parts[0] in CODE else "*"
            inside = dependency.rglob(files) if dependency.is_dir() else [dependency]
            for path in inside:
                if path.is_file() and "__pycache__" not in path.parts:
                    found[str(path)] = sha256(path)
        return found

    def check(self) -> None:
        """Raises UserError if anything is not as it was, or as Python has loaded it."""
        now = self._now()
        before = {
            name: LOADED.get(Path(name).absolute(), value) for name, value in self.before.items()
        }
        known = sorted(set(now) | set(before))
        changed = [name for name in known if now.get(name) != before.get(name)]
        if changed:
            names = ", ".join(changed[:3]) + (" and others" if len(changed) > 3 else "")
            raise UserError(
                f"{names} changed while the stage {self.stage} ran, so its outputs are not those "
                f"of what is there now.\nNothing was recorded. Run it again: dvc repro"
            )
