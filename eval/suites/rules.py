"""A suite by a competition's rules: who may enter, what it ranks by, and what it is handed.

A set of the competition is the suite's benchmark of its name, in capitals or not: CFP-FP is cfp-fp.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from eval.photos.models import Model
from eval.photos.verification import METRICS
from eval.scoring.scored import read_scores
from eval.suites import frcsyn, sdfr, sdfr_onnx
from eval.suites.running import Measured
from eval.suites.table import Cell, Column, Row, Table
from eval.suites.trained_on import TrainingFaces, faces_of_run
from manifests.core import layout
from manifests.core.backends import split_kind
from manifests.core.errors import InputError, pick
from manifests.core.files import read_json
from manifests.records.exports import FLOAT
from manifests.settings.suite import ACCURACY, COMPUTED, MEAN, Figure, Suite

Cells = Sequence[Sequence[Cell]]  # of each row of a table: COMPUTED's columns


@dataclass(frozen=True)
class Entry:
    """How a competition is entered."""

    task: str | None = None
    baseline: str | None = None  # the model that was trained on real faces, for the gap to it
    threshold: float | None = None  # of the decisions that are handed in


def check_entry(suite: Suite, path: Path, entry: Entry, models: Sequence[Model]) -> list[str]:
    """What cannot be checked of a task, in words: whatever is no run. Raises InputError for a task
    that is not the suite's, and, with the number, for a run that the task does not allow; the
    baseline is there to have seen real faces."""
    if suite.rules is None or entry.task is None:
        if entry != Entry():
            why = "its rules need --task" if suite.rules else "it has no rules"
            raise InputError(f"{path}: {why}; --baseline, --threshold and --submit are of a task")
        return []
    pick("task", entry.task, frcsyn.SUBTASKS if suite.rules == "frcsyn" else sdfr.TASKS)
    unknown = []
    for model in models:
        if split_kind(model.name)[1]:
            unknown.append(f"{model.name}: what it was trained on is not known here")
        elif model.name != entry.baseline:
            _check(suite, entry.task, faces_of_run(layout.run_folder(model.name)))
    return [f"{each}: task {entry.task} is not checked" for each in unknown]


def _check(suite: Suite, task: str, faces: TrainingFaces) -> None:
    if suite.rules == "frcsyn":
        frcsyn.check_subtask(task, faces)
    else:
        sdfr.check_task(task, faces)


def by_rules(
    table: Table, suite: Suite, measured: Mapping[str, Measured], baseline: str | None = None
) -> Table:
    """The table with the columns that the competition ranks by."""
    if suite.rules is None:
        return table
    name, headings = COMPUTED[suite.rules]
    cells = _frcsyn(table, measured, baseline) if suite.rules == "frcsyn" else _sdfr(table, suite)
    columns = [Column(name, each, Figure(each, (each,)), computed=True) for each in headings]
    printed = iter(suite.reference)  # which the published rows follow
    rows = []
    for row, own in zip(table.rows, cells, strict=True):
        if row.source:
            figures = next(printed).figures
            own = [
                cell if cell.value is not None else Cell(figures.get(each, {}).get(name))
                for each, cell in zip(headings, own, strict=True)
            ]
        rows.append(replace(row, cells=(*row.cells, *own)))
    told = _told_groups(table, measured) if suite.rules == "frcsyn" else []
    return replace(table, columns=(*table.columns, *columns), rows=tuple(rows), told=tuple(told))


def _told(make: Callable[[], float]) -> tuple[Cell, float | None]:
    """A figure of the rules in points, or why there is none."""
    try:
        value = make()
    except InputError as error:
        return Cell(why_not=str(error)), None
    return Cell(100 * value), value


def _frcsyn(table: Table, measured: Mapping[str, Measured], baseline: str | None) -> Cells:
    """AVG, SD and TO over the groups of bupt, AVG over the sets, and the gaps of TO and of that."""
    shares = {row.model: _shares(table, row) for row in table.measured}
    figures = {}
    for model, own in shares.items():
        groups = _groups(measured, model)
        names = ("average", "deviation", "trade_off")
        figures[model] = [*(_of_groups(groups, name) for name in names), _of_sets(own)]
    ranked = {model: (own[2][1], own[3][1]) for model, own in figures.items()}
    real = ranked.get(baseline or "", (None, None))
    found = [
        [cell for cell, _ in own] + [_gap(*both) for both in zip(real, ranked[model], strict=True)]
        for model, own in figures.items()
    ]
    return [*found, *[[Cell()] * len(COMPUTED["frcsyn"][1])] * len(table.published)]


def _of_groups(groups: Mapping[str, float | None], name: str) -> tuple[Cell, float | None]:
    return _told(lambda: getattr(frcsyn.over_groups(_whole(groups)), name))


def _whole(groups: Mapping[str, float | None]) -> dict[str, float]:
    """Raises InputError for groups without an accuracy: the spread of the others is another."""
    known = {name: value for name, value in groups.items() if value is not None}
    if len(known) < len(groups):
        lacking = ", ".join(name for name in groups if name not in known)
        raise InputError(f"frcsyn: no accuracy of {lacking}; its pairs are too few")
    return known


def _told_groups(table: Table, measured: Mapping[str, Measured]) -> list[str]:
    """What sets a measured spread apart from the published ones."""
    groups = dict.fromkeys(name for row in table.measured for name in _groups(measured, row.model))
    if not groups or len(groups) == frcsyn.GROUPS:
        return []
    return [
        f"FRCSyn: AVG, SD and TO of what was measured are over {len(groups)} groups "
        f"({', '.join(groups)}), those published over {frcsyn.GROUPS}: not to be held against "
        "each other"
    ]


def _of_sets(shares: Mapping[str, float]) -> tuple[Cell, float | None]:
    return _told(lambda: frcsyn.mean_over_sets(shares))


def _gap(real: float | None, synthetic: float | None) -> Cell:
    if real is None or synthetic is None:
        return Cell(why_not="no figure to compare, or no model named by --baseline")
    return _told(lambda: frcsyn.gap(real=real, synthetic=synthetic))[0]


def _shares(table: Table, row: Row) -> dict[str, float]:
    """{set: accuracy} of a row."""
    return {
        column.benchmark.casefold(): cell.value / 100
        for column, cell in zip(table.columns, row.cells, strict=True)
        if column.figure == ACCURACY and column.benchmark != MEAN and cell.value is not None
    }


def _groups(measured: Mapping[str, Measured], model: str) -> dict[str, float | None]:
    """{group: accuracy, None of one that has none} on BUPT-BalancedFace."""
    for name, found in measured.items():
        if name.casefold() in frcsyn.TASK_1 and model in found.results:
            said: Mapping[str, Any] = read_json(found.results[model] / METRICS)
            groups = said.get("by_group", {}).get("groups", {})
            return {
                group: own["accuracy"] and own["accuracy"]["value"] for group, own in groups.items()
            }
    return {}


def _sdfr(table: Table, suite: Suite) -> Cells:
    """Borda points and place among all rows that have a figure on every set: the first column."""
    heading = next(iter(suite.columns))
    figures = {  # by the row's number: two rows may be called alike
        str(number): {
            column.benchmark.casefold(): cell.value
            for column, cell in zip(table.columns, row.cells, strict=True)
            if column.heading == heading and cell.value is not None
        }
        for number, row in enumerate(table.rows)
    }
    whole = {number: own for number, own in figures.items() if set(sdfr.SETS) <= set(own)}
    lacking = Cell(why_not=f"a figure on each of {len(sdfr.SETS)} sets is needed")
    found = {
        number: [Cell() if row.source else lacking] * 2
        for number, row in zip(figures, table.rows, strict=True)
    }
    if len(whole) < 2:
        alone = Cell(why_not="a place is one among competitors: name others that have all sets")
        found |= {number: [alone] * 2 for number in whole}
    else:
        for own in sdfr.borda(whole):
            found[own.competitor] = [Cell(own.points), Cell(float(own.place), digits=0)]
    return list(found.values())


def entrant(suite: Suite, entry: Entry, models: Sequence[Model]) -> str:
    """The only model beside the baseline: what is handed in. Raises InputError for more, and for
    what that lacks, before anything is measured."""
    if entry.task is None:
        raise InputError("--submit: what is handed in is of a --task")
    names = [model.name for model in models if model.name != entry.baseline]
    if len(names) != 1:
        raise InputError(
            f"--submit: {len(names)} models beside the baseline; name the one that is handed in"
        )
    if suite.rules == "frcsyn" and (entry.threshold is None or not isfinite(entry.threshold)):
        raise InputError("--submit: a decision needs --threshold, chosen on training pairs")
    if suite.rules == "sdfr" and not _exported(names[0]).exists():
        raise InputError(f"{_exported(names[0])}: no such file; run facestill export first")
    return names[0]


def _exported(model: str) -> Path:
    return layout.export(layout.run_name(model)) / FLOAT


def write_submission(
    suite: Suite, entry: Entry, model: str, measured: Mapping[str, Measured], out: Path
) -> list[Path]:
    """What is handed in of an entrant."""
    if suite.rules == "sdfr":
        return [sdfr_onnx.write_submission(_exported(model), out, str(entry.task))]
    assert entry.task is not None and entry.threshold is not None  # by `entrant`
    sets = frcsyn.SUBTASKS[entry.task].sets
    tables = {
        name.casefold(): read_scores(found.results[model] / "scores.parquet")[0]
        for name, found in measured.items()
        if name.casefold() in sets and model in found.results
    }
    return frcsyn.write_submission(out, entry.task, tables, entry.threshold)
