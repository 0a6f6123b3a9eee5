"""How common each of many yes-or-no attributes is among real and synthetic faces.

And faces that show what a finding is about. Photographs are shown only of a folder that the user
named; those of a benchmark that comes with Facestill never are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eval.photos.photo_sets import open_photographs
from eval.reporting.figures import DPI, INK, MUTED, RULE, STUDENT, TEACHER, data_uri, strip
from manifests.core import layout
from manifests.photographs.images import DETECT_THRESHOLD, ImageFolder, decode
from pipeline.arrays.align import Aligner, crop_photograph, find_in_photograph
from pipeline.arrays.frames import ARCFACE112

WIDTH, ROW_HEIGHT, MARGIN = 9.6, 0.24, 0.9  # inches


def rates_figure(rates: Sequence[tuple[str, float, float]]) -> Figure:
    """Rows of (attribute, share of real faces, share of synthetic ones), the first on top."""
    figure = Figure(
        (WIDTH, MARGIN + ROW_HEIGHT * len(rates)), dpi=DPI, layout="constrained", facecolor="white"
    )
    axes = figure.add_subplot()
    for row, (_, real, synthetic) in enumerate(rates):
        axes.plot([real, synthetic], [row, row], color=RULE, linewidth=2.2, zorder=1)
    rows = range(len(rates))
    axes.plot([real for _, real, _ in rates], rows, "o", color=TEACHER, markersize=5, label="real")
    axes.plot([made for _, _, made in rates], rows, "s", color=STUDENT, markersize=4.5,
              label="synthetic")  # fmt: skip
    axes.set_yticks(rows, [name for name, _, _ in rates], color=INK)
    axes.set_ylim(len(rates) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.tick_params(colors=MUTED, labelsize=8, width=0.8)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize=9,
                labelcolor=INK, borderaxespad=0.0)  # fmt: skip
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
    aligner = Aligner(layout.WEIGHTS, threshold=DETECT_THRESHOLD)

    def face(name: str) -> UInt8[np.ndarray, "size size 3"]:
        picture = decode(source.read(name), source.where(name))
        crop = crop_photograph(picture, find_in_photograph(aligner, picture), ARCFACE112)
        return crop.permute(1, 2, 0).byte().numpy()

    return data_uri(strip(np.stack([face(name) for name in names[:slots]]), slots), "image/webp")
