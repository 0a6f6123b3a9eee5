"""A suite's table: a row a model, a column a benchmark and figure, the best of a column marked
where a paired test bears it out, and published rows apart."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

import numpy as np

from eval.photos.verification import METRICS
from eval.scoring.metrics import MIN_PEOPLE, people_known
from eval.scoring.results import Result, paired, read_result
from eval.suites.running import Measured
from manifests.core.files import read_json
from manifests.settings.suite import MEAN, Figure, Suite

PEOPLE, PAIRS = "people", "pairs"
LEAST_P = 0.05  # of McNemar's test, where nobody knows who is who
NOT_ALLOWED = "its pairs do not allow this figure"


@dataclass(frozen=True)
class Cell:
    """A figure in the units of the table, or a reason."""

    value: float | None = None
    interval: tuple[float, float] | None = None  # 95 %
    over: str = ""  # people or pairs: what the interval resamples
    best: bool = False
    why_not: str = ""
    digits: int = 2  # behind the point


@dataclass(frozen=True)
class Column:
    benchmark: str  # or mean
    heading: str
    figure: Figure
    computed: bool = False  # from several benchmarks, by a competition's rules


@dataclass(frozen=True)
class Row:
    model: str
    cells: tuple[Cell, ...]
    source: str = ""  # of published figures; "" of what was measured


@dataclass(frozen=True)
class Table:
    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    benchmarks: Mapping[str, Mapping[str, Any]]  # what was measured: pairs, people, protocol
    told: tuple[str, ...] = ()  # what else is to be known

    @property
    def measured(self) -> list[Row]:
        return [row for row in self.rows if not row.source]

    @property
    def published(self) -> list[Row]:
        return [row for row in self.rows if row.source]

    @property
    def heads(self) -> list[str]:
        """Of the columns; a single figure is named by the title alone."""
        single = len({own.heading for own in self.columns if not own.computed}) == 1
        return [
            own.benchmark if single and not own.computed else f"{own.benchmark}, {own.heading}"
            for own in self.columns
        ]

    @property
    def reasons(self) -> list[str]:
        """Why there are dashes among what was measured, each told once."""
        found: dict[tuple[str, str], list[str]] = {}
        for row in self.measured:
            for head, column, cell in zip(self.heads, self.columns, row.cells, strict=True):
                if cell.why_not:
                    whole = cell.why_not in self.benchmarks_lacking(column.benchmark)
                    key = (column.benchmark if whole else head, cell.why_not)
                    models = found.setdefault(key, [])
                    models += [row.model] if row.model not in models else []
        every, told = len(self.measured), dict[str, list[str]]()
        for (what, why), models in found.items():
            of = "" if len(models) == every else f" of {', '.join(models)}"
            told.setdefault(why, []).append(f"{what}{of}")
        return [f"{'; '.join(whats)}: {why}" for why, whats in told.items()]

    def benchmarks_lacking(self, name: str) -> Collection[str]:
        """The reasons for which a benchmark was not measured at all."""
        return self.benchmarks[name]["why_not"].values() if name in self.benchmarks else ()


Compare = Callable[[str, str, str], Mapping[str, Any]]  # benchmark, model A, model B: A less B


def make_table(
    name: str, suite: Suite, models: Sequence[str], measured: Mapping[str, Measured]
) -> Table:
    """From the results of every benchmark. Raises InputError for results that do not follow from
    their scores, or of unlike pairs."""
    metrics = {
        benchmark: {m: read_json(folder / METRICS) for m, folder in found.results.items()}
        for benchmark, found in measured.items()
    }
    columns = _columns(suite)
    own = [column for column in columns if column.benchmark != MEAN]
    rows = []
    for model in models:
        cells = [
            _cell(each.figure, metrics[each.benchmark].get(model), measured[each.benchmark], model)
            for each in own
        ]
        rows.append(Row(model, _with_means(columns, cells)))
    rows = _marked(columns, rows, metrics, _comparing(measured))
    facts = {name: _facts(found, metrics[name]) for name, found in measured.items()}
    return Table(name, suite.title, columns, (*rows, *_published(suite, columns)), facts)


def _columns(suite: Suite) -> tuple[Column, ...]:
    names = [*suite.benchmarks, *([MEAN] if suite.mean else [])]
    return tuple(
        Column(name, heading, chosen.of(name))
        for name in names
        for heading, chosen in suite.columns.items()
    )


def _cell(
    figure: Figure, metrics: Mapping[str, Any] | None, measured: Measured, model: str
) -> Cell:
    if metrics is None:
        return Cell(why_not=measured.why_not[model])
    value, beside = _found(figure.path, metrics)
    if value is None:
        return Cell(why_not=beside)
    scale = 1.0 if figure.is_ratio else 100.0
    over = PEOPLE if people_known(metrics) else PAIRS
    ends = beside.get("ci95_identity" if over == PEOPLE else "ci95")
    if ends is None:
        return Cell(scale * value)
    low, high = (scale * end for end in ends)
    return Cell(scale * value, (low, high), over)


def _found(path: Sequence[str], metrics: Mapping[str, Any]) -> tuple[float | None, Any]:
    """A figure and its intervals by name; None, and what is missing, where there is none."""
    parent: Mapping[str, Any] = {}
    at: Any = metrics
    for step in path:
        if at is None:  # the pairs bear nothing of this kind
            return None, NOT_ALLOWED
        if not isinstance(at, Mapping) or step not in at:
            return None, f"its results have no {step}"
        parent, at = at, at[step]
    if at is None:
        return None, NOT_ALLOWED
    if isinstance(at, Mapping) and "value" in at:
        return at["value"], at
    if not isinstance(at, float | int):
        return None, f"{path[-1]} is no single figure"
    names = ("ci95", "ci95_identity")
    return float(at), {name: parent.get(f"{path[-1]}_{name}") for name in names}


def _with_means(columns: Sequence[Column], cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells, and behind them the mean of every figure over the benchmarks."""
    means = []
    for column in columns[len(cells) :]:
        own = [
            cell for at, cell in zip(columns, cells, strict=False) if at.heading == column.heading
        ]
        there = [cell.value for cell in own if cell.value is not None]
        if len(there) == len(own):
            means.append(Cell(float(np.mean(there))))
        else:
            means.append(Cell(why_not=f"{len(there)} of {len(own)} benchmarks have the figure"))
    return (*cells, *means)


def _facts(measured: Measured, metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a benchmark is, as its results say."""
    names = ("num_pairs", "num_subjects", "subject_rule", "num_images", "protocol_sha256",
             "alignment")  # fmt: skip
    found: dict[str, Any] = {"opened": measured.opened}
    for each in metrics.values():
        found |= {key: each.get(key) for key in names}
        found["intervals_over"] = PEOPLE if people_known(each) else PAIRS
    results = {model: folder.as_posix() for model, folder in measured.results.items()}
    return {**found, "results": results, "why_not": dict(measured.why_not)}


def _published(suite: Suite, columns: Sequence[Column]) -> list[Row]:
    return [
        Row(own.model, tuple(Cell(_printed(own.figures, c)) for c in columns), own.source)
        for own in suite.reference
    ]


def _printed(figures: Mapping[str, Mapping[str, float]], column: Column) -> float | None:
    return figures.get(column.heading, {}).get(column.benchmark)


def _comparing(measured: Mapping[str, Measured]) -> Compare:
    """Pairs of results, each read and compared once. Held are those of one benchmark: the scores of
    IJB-C are half a gigabyte a model."""
    most = max(len(found.results) for found in measured.values())
    read: Callable[..., Result] = lru_cache(most)(read_result)

    @cache
    def compare(benchmark: str, a: str, b: str) -> Mapping[str, Any]:
        results = measured[benchmark].results
        return paired(read(results[a]), read(results[b]))

    return compare


def _marked(
    columns: Sequence[Column],
    rows: Sequence[Row],
    metrics: Mapping[str, Mapping[str, Mapping[str, Any]]],
    compare: Compare,
) -> list[Row]:
    """With the best of every column marked; of a mean that which is the best of every benchmark."""
    best: dict[tuple[str, str], str | None] = {}  # {(benchmark, heading): model}
    for place, column in enumerate(columns):
        if column.benchmark == MEAN:
            own = {best[key] for key in best if key[1] == column.heading}
            best[MEAN, column.heading] = own.pop() if len(own) == 1 else None
            continue
        values = {row.model: row.cells[place].value for row in rows}
        there = {model: value for model, value in values.items() if value is not None}
        best[column.benchmark, column.heading] = best_of(
            column, there, metrics[column.benchmark], compare
        )
    return [
        replace(
            row,
            cells=tuple(
                replace(cell, best=best[column.benchmark, column.heading] == row.model)
                for column, cell in zip(columns, row.cells, strict=True)
            ),
        )
        for row in rows
    ]


def best_of(
    column: Column,
    values: Mapping[str, float],
    metrics: Mapping[str, Mapping[str, Any]],
    compare: Compare,
) -> str | None:
    """The model that a paired test says to be better than every other one; None where it says no
    such thing, or where there is no test: of figures that pairs alone do not decide, and of so few
    people that intervals over them are far too narrow."""
    if len(values) < 2:
        return None
    sign = -1.0 if column.figure.less_is_better else 1.0
    first = max(values, key=lambda model: sign * values[model])
    tested = _tested(column.figure, metrics[first])
    if tested is None:
        return None
    name, direction = tested
    others = [model for model in values if model != first]
    better = all(
        _is_better(compare(column.benchmark, first, other), name, direction, metrics[first])
        for other in others
    )
    return first if better else None


def _tested(figure: Figure, metrics: Mapping[str, Any]) -> tuple[str, float] | None:
    """What `paired` calls a figure, and whether more of that is better: 1, or -1."""
    if metrics["num_subjects"] < MIN_PEOPLE or metrics["num_folds"] < 2:
        return None
    match figure.path:
        case ("accuracy",) | ("auc",):
            return figure.path[0], 1.0
        case ("eer",):
            return "eer", -1.0
        case ("tar_at_far", far) if "tar_at_far_num_pairs" not in metrics:
            return f"tar@{far}", 1.0
        case ("fnmr_at_fmr", fmr):
            return f"tar@{fmr}", 1.0
    return None


def _is_better(
    found: Mapping[str, Any], name: str, direction: float, metrics: Mapping[str, Any]
) -> bool:
    """By the interval over people of the difference, which is too narrow where nobody knows who is
    who: there McNemar's test of the decisions must agree."""
    if name not in found["difference"]:
        return False
    low, high = (direction * end for end in found["difference"][name]["ci95_identity"])
    if min(low, high) <= 0.0:
        return False
    if metrics["subject_rule"] == "image":
        return bool(found["mcnemar"]["p_value"] < LEAST_P)
    return True
