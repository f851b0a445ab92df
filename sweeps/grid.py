"""The experiments of a sweep: one for each combination of values, checked before any work."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from dvc.utils.hydra import get_hydra_sweeps, to_hydra_overrides
from hydra.errors import HydraException

from pipeline.params import Params, load_params
from pipeline.reading import validated
from vae.errors import UserError, in_short


@dataclass(frozen=True)
class Experiment:
    name: str
    overrides: tuple[str, ...]  # what `dvc exp run -S` takes

    def __str__(self) -> str:
        return f"{self.name}  {' '.join(self.overrides)}"


def grid(settings: Sequence[str], commit: str) -> list[Experiment]:
    """One experiment for each combination of the lists and ranges in `settings`, which are written
    as for `dvc exp run --queue -S`.

    Its name says what it is: a digest of the commit and of all parameters. So it is the same on
    each machine and in each run, however the settings are ordered or written.
    Raises UserError for what cannot be read, Refusal for parameters that the project refuses.
    """
    defaults = load_params()
    experiments = {}
    for overrides in _combinations(settings):
        params = defaults.model_dump()
        for override in to_hydra_overrides(overrides):
            section, _, name = override.key_or_group.partition(".")
            params.setdefault(section, {})[name] = override.value()
        text = json.dumps([commit, validated(Params, params, "-S").model_dump()], sort_keys=True)
        name = f"sweep-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        experiments.setdefault(name, Experiment(name, tuple(overrides)))
    return list(experiments.values())


def _combinations(settings: Sequence[str]) -> list[list[str]]:
    """The combinations, each with one value for each parameter."""
    try:
        sweeps = get_hydra_sweeps({"params.yaml": list(settings)})
        if empty := [its for its in settings if not get_hydra_sweeps({"params.yaml": [its]})]:
            raise ValueError(f"{empty[0]} has no value: range(START,STOP) ends before STOP")
    except (HydraException, ValueError, ArithmeticError) as error:
        reason = " ".join(str(error).split()).split("://")[0].removesuffix(" See https")[:150]
        raise UserError(
            f"-S {in_short(' '.join(settings))}: cannot be used ({reason}).\n"
            f"Write it as -S 'train.kl_weight=0.5,1,2' or -S 'model.hidden_dims=[512,64],[300]'"
        ) from None
    return [sweep["params.yaml"] for sweep in sweeps]
