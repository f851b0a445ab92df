"""The page's charts, as plotly figures. Their colours come from the page (charts.js).

The page writes the titles. plotly reads every text in a figure as HTML, so names are escaped here.
"""

import html
import statistics
from collections.abc import Sequence

import plotly.graph_objects as go

from report.experiments import Experiment
from vae.evaluation.bounds import ACTIVE_VARIANCE, kl_of_groups

LONGEST_NAME = 18  # letters of an experiment's name on an axis
NATS = "nats per image"

Rows = Sequence[dict]


def training(rows: Rows, part: str) -> go.Figure:
    """The ELBO or a part of it (reconstruction, kl) by epoch, of training and validation images."""
    figure = _figure("epoch", NATS)
    for split in "train", "validation":
        values = [row[f"{split}_{part}"] for row in rows]
        figure.add_scatter(
            x=[row["epoch"] for row in rows], y=values, name=split, mode="lines+markers",
            marker_size=5, hovertemplate="epoch %{x}: %{y:.2f} nats",
        )  # fmt: skip
    return figure


def splits(rows: Rows) -> go.Figure:
    names = [html.escape(row["split"]) for row in rows]
    return _dots(names, [("ELBO", "elbo", rows), ("bound", "log_likelihood", rows)])


def bounds(rows: Rows) -> go.Figure:
    figure = _figure("draws k (logarithmic)", NATS)
    figure.add_scatter(
        x=[row["k"] for row in rows], y=[row["bound"] for row in rows], mode="lines+markers",
        error_y={"array": [row["stderr"] for row in rows]},
        hovertemplate="k = %{x:,}: %{y:.2f} ± %{error_y.array:.2f} nats<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(type="log", dtick=1)
    return figure


def units(rows: Rows) -> go.Figure:
    """The KL of each latent dimension, largest first. Active ones have a colour of their own."""
    figure = _figure("latent dimension", "nats per image")
    rows = sorted(rows, key=lambda row: -row["kl"])
    for name, is_active in ("active", True), ("inactive", False):
        chosen = [row for row in rows if (row["variance_of_mean"] > ACTIVE_VARIANCE) == is_active]
        figure.add_bar(
            x=[f"z{row['dimension']:.0f}" for row in chosen], y=[row["kl"] for row in chosen],
            name=name, hovertemplate="%{x}: %{y:.3f} nats",
        )  # fmt: skip
    order = [f"z{row['dimension']:.0f}" for row in rows]
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=order)
    figure.update_layout(barmode="stack")
    return figure


def groups(kl: Sequence[float], sizes: Sequence[int]) -> go.Figure:
    """The KL of each group of latents, from the top down; kl has that of each latent."""
    figure = _figure("group of latents, from the top down", NATS)
    names = [f"{number}: {size} latents" for number, size in enumerate(sizes, 1)]
    nats = kl_of_groups(kl, sizes)
    figure.add_bar(x=names, y=nats, hovertemplate="%{x}: %{y:.2f} nats<extra></extra>")
    return figure


def comparison(experiments: Sequence[Experiment]) -> go.Figure:
    """Test ELBO and bound of the experiments, each of which has metrics."""
    names = [
        name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
        for name in (experiment.name for experiment in experiments)
    ]
    rows = [experiment.metrics for experiment in experiments]
    lines = [("test ELBO", "elbo", rows), ("bound", "log_likelihood", rows)]
    figure = _dots([html.escape(name) for name in names], lines)
    values = [row[metric] for row in rows for metric in ("elbo", "log_likelihood")]
    if values:
        # The axis begins at most four times as far below the best value as the median is, so that
        # no absurd value presses the others together.
        best = max(values)
        least = best - 4 * max(best - statistics.median(values), 1.0)
        if min(values) < least:
            figure.update_xaxes(range=[least, best + 0.05 * (best - least)])
    return figure


def _dots(names: Sequence[str], lines: Sequence[tuple[str, str, Rows]]) -> go.Figure:
    """A dot with its error bar for each row, in a line of dots for each (name, metric, rows)."""
    figure = _figure(NATS, "")
    places = list(range(len(names)))  # numbers, since two experiments can have one name
    for line, metric, rows in lines:
        figure.add_scatter(
            x=[row[metric] for row in rows], y=places, name=line, mode="markers", text=names,
            marker_size=9, error_x={"array": [row[f"{metric}_stderr"] for row in rows]},
            hovertemplate="%{text}: %{x:.2f} ± %{error_x.array:.2f} nats",
        )  # fmt: skip
    figure.update_yaxes(
        tickmode="array", tickvals=places, ticktext=names, range=[len(names) - 0.5, -0.5]
    )
    figure.update_layout(height=120 + 34 * len(names))
    return figure


def _figure(x: str, y: str) -> go.Figure:
    figure = go.Figure(layout={"template": {}, "dragmode": False, "height": 320})
    figure.update_layout(
        margin={"l": 8, "r": 12, "t": 8, "b": 8},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
    )
    axis = {"automargin": True, "fixedrange": True}
    figure.update_xaxes(title_text=x, tickangle=0, **axis)
    figure.update_yaxes(title_text=y, **axis)
    return figure
