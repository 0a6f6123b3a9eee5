"""Plot error versus discard, whether a quality score finds what fails to match.

    facestill discard DIR/scores.parquet --quality TABLE [--fmr 0.001] [--out FILE …]

TABLE: CSV or Parquet with columns image and quality (higher is better). A pair is as good as the
worse of its images; the worst pairs are discarded first, and FNMR of the rest at a fixed FMR is
plotted over the share discarded (Grother & Tabassi 2007; the grid is that of CR-FIQA).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eval.reporting.style import (
    RULE,
    STUDENT,
    canvas,
    check_outputs,
    framed,
    legend,
    write_outputs,
)
from eval.scoring.discarding import (
    FIXED,
    GRID,
    PARTIAL,
    RULES,
    discard_figures,
    pair_quality,
)
from eval.scoring.scored import read_scores
from manifests.core.errors import Parser, pick, run_command
from manifests.photographs.lists import read_qualities


def discard_text(found: Mapping[str, Any]) -> str:
    """The curve at a few shares, and the areas, to read."""
    shown = [place for place, share in enumerate(GRID) if share in (0.0, 0.1, 0.2, 0.3, 0.5)]
    lines = [f"FNMR at FMR {found['fmr']:g}, threshold {found['threshold_rule']}"]
    lines += [
        f"discarded {GRID[place]:4.0%}  FNMR {_with_interval(*ends)}"
        for place, ends in (
            (place, (found["fnmr"][place], found["fnmr_ci95_identity"][place])) for place in shown
        )
    ]
    for name, end in (("auc", GRID[-1]), ("pauc", PARTIAL)):
        area, ratio = found[name], found[f"{name}_over_random"]
        against = f", {_with_interval(*ratio.values())} of random" if ratio else ""
        lines.append(f"{name} to {end:.2f}: {_with_interval(*area.values())}{against}")
    if found["borne_to"] < GRID[-1]:
        lines.append(
            f"beyond {found['borne_to']:.0%} discarded too few pairs are left; quote nothing "
            "that reaches there"
        )
    return "\n".join(lines)


def _with_interval(value: float, ends: Sequence[float]) -> str:
    return f"{value:.4f} [{ends[0]:.4f}, {ends[1]:.4f}]"


def discard_figure(found: Mapping[str, Any]) -> Figure:
    """FNMR over the share discarded with its interval; dashed, discarding at random."""
    figure = canvas(4.0, 7.0)
    fnmr = f"FNMR at FMR {found['fmr']:g}"
    axes = framed(figure.add_subplot(), "pairs discarded, lowest quality first", fnmr)
    low, high = np.array(found["fnmr_ci95_identity"]).T
    axes.fill_between(GRID, low, high, color=STUDENT, alpha=0.15, linewidth=0)
    axes.plot(GRID, found["fnmr"], color=STUDENT, linewidth=1.8, label="by quality")
    axes.axhline(
        found["fnmr"][0], color=STUDENT, linewidth=1, linestyle=(0, (5, 3)), label="random"
    )
    axes.axvline(PARTIAL, color=RULE, linewidth=1, zorder=0)
    axes.set(xlim=(0.0, GRID[-1]), ylim=(0.0, None))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    legend(axes, "best")
    return figure


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("scores", type=Path, help="a scores.parquet of facestill verify")
    parser.add_argument("--quality", type=Path, required=True, help="CSV or Parquet: image,quality")
    parser.add_argument("--fmr", type=float, default=0.001)
    parser.add_argument("--threshold", default=FIXED, help=" or ".join(RULES))
    parser.add_argument("--out", nargs="+", type=Path, default=[], help="FILE.json, .png or .svg")
    parser.add_force()
    args = parser.parse_args()
    check_outputs(args.out, force=args.force)
    pick("threshold rule", args.threshold, RULES)
    pairs, metadata = read_scores(args.scores)
    quality = pair_quality(pairs, read_qualities(args.quality))
    subjects = pairs.subjects(metadata.get("subject_rule", "folder"))
    found = discard_figures(pairs, quality, subjects, fmr=args.fmr, rule=args.threshold)
    print(discard_text(found))
    report = {**found, "protocol_sha256": metadata.get("protocol_sha256", "not stated")}
    write_outputs(args.out, report, lambda: discard_figure(found))


if __name__ == "__main__":
    run_command(main)
