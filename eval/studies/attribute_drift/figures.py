"""How common each of many yes-or-no attributes is among real and synthetic faces."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eval.reporting.figures import DPI, INK, MUTED, RULE, STUDENT, TEACHER

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
