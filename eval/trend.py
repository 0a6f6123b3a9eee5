"""Show how the figures of the default run changed, commit by commit.

    facestill trend                                the latest first
    facestill trend --out trend.svg trend.json     the oldest first

Reads reports/metrics.json as git has it in every commit that changed it, and as it lies there now.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from eval.reporting.style import (
    STUDENT,
    canvas,
    check_outputs,
    framed,
    legend,
    line_of,
    write_outputs,
)
from manifests.core import layout
from manifests.core.errors import InputError, Parser, plain, run_command

METRICS = layout.REPORTS / "metrics.json"
HERE = "not committed"
MOST_NAMED = 12  # commits below a figure


@dataclass(frozen=True)
class Entry:
    """The key figures of one commit; a figure that it lacks is None."""

    commit: str
    day: str
    subject: str
    student: float | None  # accuracy on ORL
    teacher: float | None
    photographs: float | None  # the student's, on the user's own
    gap: float | None  # the least of its runs', on the probe
    faces_seen: int | None


def entry_of(commit: str, day: str, subject: str, text: str) -> Entry | None:
    """None for a text that holds no figures: others may have committed anything."""
    try:
        found = json.loads(text)
        accuracy, gaps = found["accuracy"], found.get("probe_gap", {})
        orl, photographs = (accuracy.get(name, {}) for name in ("orl", "pairs"))
        seen = found.get("student", {}).get("faces_seen")
        student, teacher, own = (
            None if value is None else float(value)
            for value in (orl.get("student"), orl.get("teacher"), photographs.get("student"))
        )
        least = min(map(float, gaps.values()), default=None)
        seen = None if seen is None else int(seen)
        return Entry(commit, day, subject, student, teacher, own, least, seen)
    except (ArithmeticError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def read_trend(path: Path = METRICS) -> list[Entry]:
    """Every commit that changed the file, the oldest first, and the file itself where it differs.

    Raises InputError where there is no git, or nothing on record.
    """
    form = "--format=%h%x00%cs%x00%s%x00"  # a subject may have any sign but this one
    told = _git("log", "--reverse", "--no-show-signature", form, "--", path.as_posix())
    found, text = [], None
    cells = [plain(cell) for cell in told.split("\0")[:-1]]
    for commit, day, subject in zip(cells[::3], cells[1::3], cells[2::3], strict=True):
        text = _git("show", f"{commit}:./{path.as_posix()}", missing="")
        found.append(entry_of(commit, day, subject, text))
    if path.exists() and (here := _decoded(path.read_bytes())) != text:
        found.append(entry_of("", "", HERE, here))
    entries = [entry for entry in found if entry is not None]
    if not entries:
        raise InputError(f"{path}: in no commit, and not here; run `make repro` and commit it")
    return entries


def _git(*arguments: str, missing: str | None = None) -> str:
    """What git answers; `missing` where it refuses."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except OSError:
        raise InputError("no git on this machine, which keeps the figures of before") from None
    if done.returncode and missing is None:
        why = _decoded(done.stderr).strip().partition("\n")[0]
        raise InputError(f"{why or 'git fails here'}; run it in a clone of the repository")
    return missing if done.returncode and missing is not None else _decoded(done.stdout)


def _decoded(said: bytes) -> str:
    return said.decode("utf-8", "replace")


def trend_text(entries: Sequence[Entry]) -> str:
    """A table, the latest first."""
    head = f"{'commit':9} {'day':10}  ORL, %  teacher  photographs  least gap  faces seen"
    rows = [
        f"{own.commit:9} {own.day:10}  {_percent(own.student):>6}  {_percent(own.teacher):>7}  "
        f"{_percent(own.photographs):>11}  {_shown(own.gap, '.3f'):>9}  "
        f"{_shown(own.faces_seen, ','):>10}  {own.subject}"
        for own in reversed(entries)
    ]
    return "\n".join([head, *rows])


def _percent(share: float | None) -> str:
    return _shown(None if share is None else 100 * share, ".2f")


def _shown(value: float | int | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def trend_figure(entries: Sequence[Entry]) -> Figure:
    """Above the accuracy on ORL of student and teacher, below the least gap, a commit a place."""
    figure = canvas(3.6)
    upper, lower = figure.subplots(2, sharex=True)
    framed(upper, "", "accuracy on ORL, %")
    for place, role in enumerate(("student", "teacher")):
        colour, dashes = line_of(role, place)
        values = [getattr(own, role) for own in entries]
        heights = [float("nan") if value is None else 100 * value for value in values]
        upper.plot(heights, color=colour, linestyle=dashes, marker="o", markersize=4, label=role)
    legend(upper, "best")
    gaps = [float("nan") if own.gap is None else own.gap for own in entries]
    framed(lower, "", "least gap, probe").plot(gaps, color=STUDENT, marker="o", markersize=4)
    named = range(len(entries) - 1, -1, -(1 + len(entries) // MOST_NAMED))  # the latest is one
    names = [f"{entries[at].commit or 'now'}\n{entries[at].day}" for at in named]
    lower.set_xticks(list(named), names, fontsize=7)
    return figure


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--out", nargs="+", type=Path, default=[], help="FILE.json, .png or .svg")
    parser.add_force()
    args = parser.parse_args()
    check_outputs(args.out, force=args.force)
    entries = read_trend()
    print(trend_text(entries))
    found: Mapping[str, Any] = {"commits": [asdict(own) for own in entries]}
    write_outputs(args.out, found, lambda: trend_figure(entries))


if __name__ == "__main__":
    run_command(main)
