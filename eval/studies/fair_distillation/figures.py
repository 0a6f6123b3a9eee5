"""The grid of the study fair-distillation in one figure: what a teacher adds to each data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.reporting.style import BEFORE, INK, MUTED, RULE, STUDENT, TEACHER, bare, canvas, name_rows

ROW_HEIGHT, MARGIN = 0.30, 0.95  # inches
SHIFT = 0.16  # of a row, between several losses of one data set
PANELS = {"mean": "mean accuracy over the groups, %", "std": "standard deviation of it, points"}
MARKS: Mapping[str, Mapping[str, Any]] = {
    "labels alone": {"marker": "o", "markerfacecolor": "white", "color": BEFORE},
    "labels and teacher": {"marker": "o", "color": STUDENT},
    "teacher alone": {"marker": "D", "color": STUDENT, "markerfacecolor": "white"},
}


@dataclass(frozen=True)
class Point:
    """One place of the grid; `figures` is None where it is empty."""

    data: str
    student: str
    loss: str | None
    distilled: bool
    figures: Mapping[str, Any] | None

    @property
    def kind(self) -> str:
        if not self.distilled:
            return "labels alone"
        return "teacher alone" if self.loss is None else "labels and teacher"


def fairness_figure(points: Sequence[Point], teacher: Mapping[str, Any]) -> Figure:
    """Mean accuracy and its spread over the groups, a column a student, a row a data set; dashed:
    the teacher. Lines join a student without distillation and the same one with it."""
    students = list(dict.fromkeys(point.student for point in points))
    data = list(dict.fromkeys(point.data for point in points))
    figure = canvas(2 * (MARGIN + ROW_HEIGHT * len(data)) + 0.3)
    panels = figure.subplots(2, len(students), sharey=True, sharex="row", squeeze=False)
    for row, (name, title) in enumerate(PANELS.items()):
        for column, student in enumerate(students):
            axes = panels[row, column]
            own = [point for point in points if point.student == student]
            _draw(axes, own, data, name)
            if teacher.get(name):
                axes.axvline(
                    100 * teacher[name]["value"], color=TEACHER, linewidth=1, linestyle=(0, (4, 2))
                )
            bare(axes, title)
            if not row:
                axes.set_title(student, color=INK, fontsize=10)
    name_rows(panels[0, 0], data)
    _legend(figure, points)
    return figure


def _draw(axes: Axes, points: Sequence[Point], data: Sequence[str], name: str) -> None:
    losses = list(dict.fromkeys(point.loss for point in points if point.loss is not None))
    ends: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for point in points:
        figure = point.figures and point.figures.get(name)
        if not figure:
            continue
        at = losses.index(point.loss) - (len(losses) - 1) / 2 if point.loss else 0.0
        height, value = data.index(point.data) + SHIFT * at, 100 * figure["value"]
        if point.loss is not None:
            ends.setdefault((point.data, point.loss), []).append((value, height))
        axes.plot(value, height, linestyle="none", markersize=6, zorder=3, **MARKS[point.kind])
    for joined in ends.values():
        axes.plot(*zip(*joined, strict=True), color=RULE, linewidth=2, zorder=1)
    for place, title in enumerate(data):
        if not any(point.figures for point in points if point.data == title):
            axes.text(
                0.02, place, "not trained", transform=axes.get_yaxis_transform(), color=MUTED,
                fontsize=8, va="center", style="italic", backgroundcolor="white",
            )  # fmt: skip


def _legend(figure: Figure, points: Sequence[Point]) -> None:
    shown = [kind for kind in MARKS if any(p.kind == kind and p.figures for p in points)]
    first = figure.axes[0]
    handles = [
        first.plot([], [], linestyle="none", markersize=6, label=kind, **MARKS[kind])[0]
        for kind in shown
    ]
    figure.legend(
        handles, shown, loc="outside lower center", ncols=len(shown), frameon=False, fontsize=9,
        labelcolor=INK,
    )  # fmt: skip
