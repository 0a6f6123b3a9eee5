"""How common each of many yes-or-no attributes is among real and synthetic faces.

And faces that show what a finding is about. Photographs are shown only of a folder that the user
named; those of a benchmark that comes with Facestill never are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eval.alignment import alignment_by
from eval.photos.photo_sets import face_picture, open_photographs
from eval.reporting.pictures import strip
from eval.reporting.style import RULE, STUDENT, TEACHER, above, bare, canvas, name_rows
from manifests.photographs.images import ImageFolder

ROW_HEIGHT, MARGIN = 0.24, 0.9  # inches


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


def may_show(text: str) -> bool:
    """Of photographs named orl, pairs:DIR or folder:DIR."""
    return text.startswith(("pairs:", "folder:"))


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
