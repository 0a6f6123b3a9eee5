"""Compare results on one frozen protocol, paired or as a leaderboard.

    facestill compare A B                        paired: A less B
    facestill compare A B C … --out board.svg board.json

A, B, …: folders that `facestill verify` wrote. Every figure is computed from scores.parquet
again; a metrics.json that says otherwise is refused, and so are results on unlike protocols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eval.reporting.style import (
    STUDENT,
    bare,
    canvas,
    check_outputs,
    name_rows,
    shortened,
    write_outputs,
)
from eval.scoring.metrics import MIN_PEOPLE
from eval.scoring.results import Result, check_same_pairs, paired, read_result
from manifests.core.errors import InputError, Parser, run_command

ROW_HEIGHT, MARGIN = 0.42, 1.3  # inches


def leaderboard_text(found: Mapping[str, Any]) -> str:
    """A table, the most accurate first; intervals are those over identities."""
    board = found["leaderboard"]
    fars = [far for far, rate in board[0]["tar_at_far"].items() if rate is not None]
    header = ["", "result", "accuracy", "95 %", "AUC", "EER", *(f"TAR@{far}" for far in fars)]
    rows = [
        [
            str(place),
            row["result"],
            _percent(row["accuracy"]),
            _interval(row["accuracy_ci95_identity"]),
            f"{row['auc']:.4f}",
            _percent(row["eer"]),
            *(_percent(row["tar_at_far"][far]["value"]) for far in fars),
        ]
        for place, row in enumerate(board, 1)
    ]
    title = (
        f"protocol {found['protocol_sha256'][:12]}: {found['num_pairs']} pairs of "
        f"{found['num_subjects']} people; intervals over people"
    )
    if found["num_subjects"] < MIN_PEOPLE:
        title += f", who are too few: with less than {MIN_PEOPLE} they are far too narrow"
    return "\n".join([title, *_aligned([header, *rows])])


def paired_text(pair: Mapping[str, Any]) -> str:
    """One comparison, a figure a line."""
    test = pair["mcnemar"]
    rows = [
        [_shown(name), f"{100 * entry['value']:+.2f}", _interval(entry["ci95_identity"], sign="+")]
        for name, entry in pair["difference"].items()
    ]
    return "\n".join(
        [
            f"\n{pair['a']} less {pair['b']}, points of a hundred",
            *_aligned(rows),
            f"McNemar: {test['only_a']} pairs right in the first only, {test['only_b']} in the "
            f"second only, exact p = {test['p_value']:.3g} (pairs taken for independent)",
        ]
    )


def _shown(name: str) -> str:
    return name if name == "accuracy" else name.upper()


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _interval(ends: Sequence[float], sign: str = "") -> str:
    low, high = (f"{100 * end:{sign}.2f}" for end in ends)
    return f"[{low}, {high}]"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def leaderboard_figure(found: Mapping[str, Any]) -> Figure:
    """Accuracy with its interval over identities, a line a result, the best on top."""
    board = found["leaderboard"]
    figure = canvas(MARGIN + ROW_HEIGHT * len(board), 8.0)
    axes = bare(
        figure.add_subplot(),
        f"10-fold accuracy, 95 % interval over {found['num_subjects']} people; "
        f"{found['num_pairs']} pairs, protocol {found['protocol_sha256'][:12]}",
    )
    accuracy = np.array([row["accuracy"] for row in board])
    ends = np.array([row["accuracy_ci95_identity"] for row in board])
    heights = np.arange(len(board))
    axes.hlines(heights, ends[:, 0], ends[:, 1], color=STUDENT, linewidth=2)
    axes.plot(accuracy, heights, "o", color=STUDENT, markersize=6)
    name_rows(axes, [shortened(row["result"]) for row in board])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    return figure


def compare(results: Sequence[Result]) -> dict[str, Any]:
    """All results by falling accuracy; of two the pair in the order given, of more each one
    against the first of the board. Raises InputError for results that are not comparable."""
    check_same_pairs(results)
    ranked = sorted(results, key=lambda result: -result.figures["accuracy"])
    pairs = [tuple(results)] if len(results) == 2 else [(ranked[0], lower) for lower in ranked[1:]]
    return {
        "protocol_sha256": results[0].protocol,
        "num_pairs": len(results[0].pairs),
        "num_subjects": results[0].figures["num_subjects"],
        "leaderboard": [
            {**result.facts, "result": result.label, **result.figures} for result in ranked
        ],
        "paired": [paired(a, b) for a, b in pairs],
    }


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="folders that facestill verify wrote")
    parser.add_argument("--out", nargs="+", type=Path, default=[], help="FILE.json, .png or .svg")
    parser.add_force()
    args = parser.parse_args()
    check_outputs(args.out, force=args.force)
    if len(args.results) < 2:
        raise InputError("one result only; name at least two folders to compare")
    found = compare([read_result(folder) for folder in args.results])
    print(leaderboard_text(found))
    for pair in found["paired"]:
        print(paired_text(pair))
    write_outputs(args.out, found, lambda: leaderboard_figure(found))


if __name__ == "__main__":
    run_command(main)
