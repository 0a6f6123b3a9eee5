"""Error versus discard of several qualities in one picture; and stored faces by their quality:
how it is spread, and the faces at either end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eval.reporting.pictures import face_strip, showable
from eval.reporting.style import BEFORE, MUTED, RULE, STUDENT, TEACHER, bare, canvas, legend
from manifests.records.qualities import QualityTable, table_of
from manifests.stores.rounds import open_round

HEIGHT = 4.3  # inches
# Colour and dash of a curve: the learnt ones by colour, simple baselines grey by dash.
LEARNT = ((STUDENT, "solid"), (TEACHER, "solid"), (TEACHER, (0, (5, 2))), (STUDENT, (0, (5, 2))),
          (STUDENT, (0, (1, 1.5))))  # fmt: skip
SIMPLE = (
    (MUTED, "solid"), (MUTED, (0, (5, 2))), (MUTED, (0, (1, 1.5))), (BEFORE, (0, (6, 2, 1, 2))),
)  # fmt: skip


def discard_curves(
    found: Mapping[str, Any], learnt: Mapping[str, str], simple: Mapping[str, str]
) -> Figure:
    """FNMR over the share discarded; `learnt` and `simple` name the qualities that are drawn,
    {name: what it is called}. The first one's interval is shaded."""
    figure = canvas(HEIGHT)
    fnmr = f"FNMR at FMR {found['fmr']:g}"
    axes = bare(figure.add_subplot(), "pairs discarded, lowest quality first", fnmr, rules="y")
    share, qualities = found["discarded"], found["qualities"]
    low, high = np.array(qualities[next(iter(learnt))]["fnmr_ci95_identity"]).T
    axes.fill_between(share, low, high, color=STUDENT, alpha=0.12, linewidth=0)
    for names, styles, above in ((learnt, LEARNT, 3), (simple, SIMPLE, 2)):
        for (name, title), (colour, dash) in zip(names.items(), styles, strict=False):
            axes.plot(
                share, qualities[name]["fnmr"], color=colour, linestyle=dash, linewidth=1.8,
                label=title, zorder=above,
            )  # fmt: skip
    axes.axvline(found["partial_to"], color=RULE, linewidth=1, zorder=0)
    axes.set(xlim=(0.0, share[-1]), ylim=(0.0, None))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    legend(axes, "center left", bbox_to_anchor=(1.0, 0.5))
    return figure


FACES_SHOWN, QUANTILES = 12, (0.05, 0.25, 0.5, 0.75, 0.95)


def rated_faces(
    folder: Path, rounds: Sequence[str], teacher: str, worst: float
) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """By the tables of qualities in `folder`: quantiles of each round and how many faces the share
    `worst` is; pictures of the worst and the best, {ROUND/worst, ROUND/best: data URI}; and the
    digests of the tables. Only faces that a generator made are shown.
    """
    found, strips, digests = {}, {}, {}
    for name in rounds:
        files, path = open_round(name, teacher), table_of(folder, name)
        table, digests[path.as_posix()] = QualityTable.read(path, faces_root=files.faces.root)
        rows = np.flatnonzero(files.faces.ok())
        quantiles = np.quantile(table.quality[rows], QUANTILES)
        found[name] = {
            "num_faces": len(rows),
            "quantiles": dict(zip(map(str, QUANTILES), quantiles.tolist(), strict=True)),
            "num_quarantined": len(table.worst(rows, worst)),
        }
        if showable(files) is not None:
            ranked = rows[np.argsort(table.quality[rows], kind="stable")]
            ends = {"worst": ranked[:FACES_SHOWN], "best": ranked[::-1][:FACES_SHOWN]}
            for end, shown in ends.items():
                strips[f"{name}/{end}"] = face_strip(files.faces, shown, FACES_SHOWN)
    return found, strips, digests
