"""Pictures of images and of the latent space, the same bytes on every machine."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import color_sequences, colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from pipeline.tiles import dots, tile
from vae.files import write_atomically


def save_grid(
    path: str | Path, images: np.ndarray, columns: int, title: str, row_labels: Sequence[str] = ()
) -> None:
    """Draws [N, C, H, W] in [0, 1] as a grid, grey or in colour, with a title above."""
    sheet = tile(images, columns)
    dpi, margin, scale = 100, 0.1, dots(*images.shape[2:])
    width, height = sheet.shape[1] * scale / dpi, sheet.shape[0] * scale / dpi
    left, top = 0.9 if row_labels else margin, 0.4
    total = max(left + width + margin, 3.6), height + top + margin
    figure = Figure(figsize=total, dpi=dpi)
    axes = figure.add_axes(
        (left / total[0], margin / total[1], width / total[0], height / total[1])
    )
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    figure.text(margin / total[0], 1 - 0.25 / total[1], title, fontsize=10, va="center",
                parse_math=False)  # fmt: skip
    rows = len(row_labels)
    for row, label in enumerate(row_labels):
        axes.text(-0.02, 1 - (row + 0.5) / rows, label, transform=axes.transAxes,
                  fontsize=9, ha="right", va="center")  # fmt: skip
    _save(figure, path)


def principal_plane(points: np.ndarray) -> tuple[np.ndarray, float]:
    """The two directions in which [N, D] points vary most (D ≥ 2) → coordinates [N, 2], and the
    share of the variance that they show. The signs are such that the larger tail is positive.
    """
    centered = points - points.mean(0)
    values, vectors = np.linalg.eigh(centered.T @ centered / len(points))
    plane = centered @ vectors[:, [-1, -2]]
    signs = np.sign((plane**3).sum(0))
    share = values[-2:].sum() / values.sum() if values.sum() > 0 else 1.0
    return plane * np.where(signs == 0, 1, signs), share


def colours(classes: int) -> Sequence[tuple[float, ...]]:
    """At least one for each class. Of the first ten, any two can be told apart."""
    if classes > 10:
        return [colormaps["turbo"](i / (classes - 1)) for i in range(classes)]
    return [*map(to_rgb, color_sequences["tab10"][:9]), (0.0, 0.0, 0.0)]  # its tenth is a blue


def save_latent_map(path: str | Path, means: np.ndarray, labels: np.ndarray, dataset: str) -> None:
    """Draws posterior means [N, latent], coloured by label, in the plane where they vary most."""
    figure = Figure(figsize=(6.4, 5.6), dpi=100, layout="constrained")
    axes = figure.subplots()
    means = means.astype(np.float64)
    if means.shape[1] == 1:
        points, words = np.column_stack([means, np.zeros(len(means))]), "z (one dimension)"
    else:
        points, share = principal_plane(means)
        words = f"their two principal components, {share:.0%} of their variance"
    classes = np.unique(labels)
    for label, colour in zip(classes, colours(len(classes)), strict=False):
        chosen = points[labels == label]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=3, alpha=0.6, linewidths=0,
                     color=colour, label=str(label))  # fmt: skip
    axes.set_title(f"Posterior means of {len(means):,} {dataset} test images\n{words}", fontsize=10,
                   parse_math=False)  # fmt: skip
    axes.set_xlabel("first component")
    axes.set_ylabel("second component")
    axes.legend(title="class", markerscale=4, loc="center left", bbox_to_anchor=(1, 0.5),
                ncols=-(-len(classes) // 20))  # fmt: skip
    _save(figure, path)


def _save(figure: Figure, path: str | Path) -> None:
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})  # it names a version
    write_atomically(path, content.getvalue())
