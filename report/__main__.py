"""Writes report.html, the results as one page that needs no network: `python -m report`."""

import json
from dataclasses import asdict
from pathlib import Path
from pkgutil import resolve_name

from pipeline.params import load_params
from pipeline.reading import flat
from pipeline.stage import run
from report import charts
from report.experiments import commit, comparable, compared, differences
from report.explorer import explorer
from report.page import render
from report.program import CannotRun
from report.record import mixture
from report.results import PICTURES, load_metrics, load_pictures, load_table
from vae.errors import UserError
from vae.files import write_atomically
from vae.images import load_images
from vae.model import NETWORKS
from vae.model.vae import VAE

PAGE = Path("report.html")


def main() -> None:
    params = load_params()
    parameters = flat(params.model_dump())
    metrics, (pictures, epochs) = load_metrics(), load_pictures()
    training, splits, bounds, units = map(load_table, ("training", "splits", "bounds", "units"))
    model = VAE.load("models/vae.safetensors")
    if len(units) != model.architecture.latent_dim:
        raise _foreign("plots/units.csv")
    kl = [row["kl"] for row in sorted(units, key=lambda row: row["dimension"])]
    grouped = len(model.groups) > 1
    test = load_images("data/test.safetensors")
    if (test.shape, test.levels) != (model.architecture.shape, model.likelihood.levels):
        raise _foreign("data/test.safetensors")
    experiments = compared(list(parameters))
    try:
        explored, obstacle = explorer(model, test, kl, params.evaluate.seed), None
    except CannotRun as error:
        explored, obstacle = None, str(error)
    figures = {
        "elbo": charts.training(training, "elbo"),
        "reconstruction": charts.training(training, "reconstruction"),
        "kl": charts.training(training, "kl"),
        "splits": charts.splits(splits),
        "bounds": charts.bounds(bounds),
        "units": charts.groups(kl, model.groups) if grouped else charts.units(units),
        "comparison": charts.comparison(comparable(experiments or [])),
    }
    architecture = model.architecture
    network = resolve_name(NETWORKS[architecture.network])(**architecture.settings)
    page = render(
        model=model,
        settings=asdict(network),  # also those at their defaults
        grouped=grouped,
        commit=commit(),
        mixture=mixture(),
        metrics=metrics,
        pictures=pictures,
        named_pictures=PICTURES,
        epochs=epochs,
        splits=splits,
        explorer=explored,
        obstacle=obstacle,
        experiments=experiments,
        differences=differences(experiments or []),
        parameters=parameters,
        charts={name: json.loads(figure.to_json()) for name, figure in figures.items()},
    )
    write_atomically(PAGE, page.encode())
    print(PAGE.resolve())


def _foreign(path: str) -> UserError:
    return UserError(
        f"{path} is not of the model in models/vae.safetensors.\nMake both again: dvc repro"
    )


if __name__ == "__main__":
    run(main)
