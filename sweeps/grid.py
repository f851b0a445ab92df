"""The experiments of a sweep: one for each combination of values, checked before any work."""

import copy
import hashlib
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

from dvc.utils.hydra import to_hydra_overrides
from hydra.core.override_parser.types import OverrideType
from hydra.errors import HydraException
from pydantic import ValidationError

from vae.common.errors import Refusal, UserError
from vae.common.params import Params, load_params, load_yaml

MOST = 100_000  # experiments; a slip of the pen makes more
USAGE = "Write it as -S 'train.kl_weight=0.5,1,2' or -S 'model.hidden_dims=[512,64],[300]'"


@dataclass(frozen=True)
class Experiment:
    name: str
    overrides: tuple[str, ...]  # as `dvc exp run -S` takes them

    def __str__(self) -> str:
        return f"{self.name}  {' '.join(self.overrides)}"


def grid(settings: Sequence[str], prefix: str, commit: str) -> list[Experiment]:
    """One experiment for each combination of the lists and ranges in `settings`, which are written
    as for `dvc exp run --queue -S`.

    Its name says what it is: `prefix` and a digest of the commit and of all parameters. So it is
    the same on each machine and in each run, however the settings are ordered or written.
    Raises UserError for what cannot be read, Refusal for parameters that the project refuses.
    """
    defaults = load_yaml("params.yaml")
    load_params()  # as they stand, before they are changed
    names = {}
    for overrides in _combinations(settings):
        params = _checked(defaults, overrides)
        text = json.dumps([commit, params.model_dump()], sort_keys=True)
        name = f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        if name in names:
            raise UserError(
                f"{' '.join(names[name])} and {' '.join(overrides)} are the same experiment.\n"
                f"Give each value once"
            )
        names[name] = overrides
    return [Experiment(name, overrides) for name, overrides in names.items()]


def _combinations(settings: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The combinations, with one value for each parameter."""
    values: dict[str, list[str]] = {}
    for setting in settings:
        name, texts = _values(setting)
        if name in values:
            raise UserError(f"-S {name} stands twice.\nGive its values in one list")
        values[name] = [f"{name}={text}" for text in texts]
    number = math.prod(map(len, values.values()))
    if number > MOST:
        raise UserError(f"these are more than {MOST} experiments.\nGive fewer values")
    return product(*values.values())


def _values(setting: str) -> tuple[str, list[str]]:
    """The name and the values in `setting`, as DVC's parser tells them: 1,2 is a list of values,
    [512,64] a value that is a list.
    """
    try:
        (override,) = to_hydra_overrides([setting])
        # Shuffled, the experiments would have other numbers in each run.
        shuffled = getattr(override.value(), "shuffle", False)
        if shuffled or override.type is not OverrideType.CHANGE:
            raise UserError(f"-S '{setting}' is not a parameter with its values.\n{USAGE}")
        if override.is_sweep_override():
            return override.key_or_group, list(islice(override.sweep_string_iterator(), MOST + 1))
        return override.key_or_group, [override.get_value_element_as_str()]
    except (HydraException, ValueError) as error:
        reason = " ".join(str(error).split()).split(" See http")[0][:150]
        raise UserError(f"-S '{setting}' cannot be read ({reason}).\n{USAGE}") from None


def _checked(defaults: dict, overrides: Sequence[str]) -> Params:
    content = copy.deepcopy(defaults)
    for override in to_hydra_overrides(list(overrides)):
        *sections, last = override.key_or_group.split(".")
        place = content
        for section in sections:
            if not isinstance(place.setdefault(section, {}), dict):
                name = ".".join(sections)
                raise UserError(f"-S {override.input_line}: {name} is a value, not a section")
            place = place[section]
        place[last] = override.value()
    try:
        return Params.model_validate(content)
    except ValidationError:
        return _refused(content)


def _refused(content: dict) -> Params:
    """Raises the Refusal that the stages would raise for `content`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "params.yaml")
        path.write_text(json.dumps(content))  # which is YAML too
        try:
            return load_params(path)
        except Refusal as refusal:
            raise Refusal(str(refusal).replace(str(path), "-S")) from None
