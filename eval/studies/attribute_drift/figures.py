"""How common each of many yes-or-no attributes is among real and synthetic faces, and how far sets
lie from each other.

And faces that show what a finding is about. Photographs are shown only of a folder that the user
named; those of a benchmark that comes with Facestill never are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eval.alignment import alignment_by
from eval.photos.photo_sets import face_picture, may_show, open_photographs
from eval.reporting.pictures import strip
from eval.reporting.style import (
    INK,
    RULE,
    STUDENT,
    TEACHER,
    WIDTH,
    above,
    bare,
    canvas,
    name_rows,
)
from manifests.photographs.images import ImageFolder

ROW_HEIGHT, MARGIN, CELL = 0.24, 0.9, 0.62  # inches
PALEST = 1e-3  # nats: below it nothing is told apart
SHADES = LinearSegmentedColormap.from_list("shades", ["#f2f5f9", STUDENT])


def rates_figure(rates: Sequence[tuple[str, float, float]]) -> Figure:
    """Rows of (attribute, share of real faces, share of synthetic ones), the first on top."""
    figure = canvas(MARGIN + ROW_HEIGHT * len(rates))
    axes = figure.add_subplot()
    for row, (_, real, synthetic) in enumerate(rates):
        axes.plot([real, synthetic], [row, row], color=RULE, linewidth=2.2, zorder=1)
    rows = range(len(rates))
    axes.plot([real for _, real, _ in rates], rows, "o", color=TEACHER, markersize=5, label="real")
    axes.plot([made for _, _, made in rates], rows, "s", color=STUDENT, markersize=4.5,
              label="synthetic")  # fmt: skip
    bare(axes)
    name_rows(axes, [name for name, _, _ in rates])
    axes.set_xlim(-0.02, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    above(axes, 2)
    return figure


def matrix_figure(
    names: Sequence[str], values: Float[np.ndarray, "row column"], num_real: int
) -> Figure:
    """D(row || column) of sets, the real ones first; the darker, the worse is the row explained
    by the column. On a scale of ratios: a base line is small beside what it is read against."""
    side = CELL * len(names) + MARGIN
    figure = canvas(min(side, WIDTH), WIDTH)
    axes = figure.add_subplot()
    shades = np.maximum(values, PALEST)
    least, most = float(shades.min()), max(float(shades.max()), 2 * float(shades.min()))
    axes.imshow(shades, cmap=SHADES, norm=LogNorm(least, most), aspect="auto")
    dark = np.sqrt(least * most)
    for (row, column), value in np.ndenumerate(values):
        axes.text(column, row, f"{value:.3g}", ha="center", va="center", fontsize=10,
                  color="white" if value > dark else INK,
                  style="italic" if row == column else "normal")  # fmt: skip
    for where in {num_real} - {0, len(names)}:
        axes.axhline(where - 0.5, color=INK, linewidth=1.4)
        axes.axvline(where - 0.5, color=INK, linewidth=1.4)
    name_rows(axes, list(names))
    axes.set_xticks(range(len(names)), list(names), color=INK, fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def photograph_strip(names: Sequence[str], text: str, slots: int) -> str | None:
    """The faces of these photographs, cut as networks see them; None where they are not to be
    shown, or there are none."""
    if not names or not may_show(text):
        return None
    photographs = open_photographs(text)
    source = ImageFolder(photographs.folder)
    find = alignment_by().find
    faces = [face_picture(source, name, find) for name in names[:slots]]
    return strip(np.stack(faces), slots)
