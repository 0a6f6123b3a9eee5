"""A suite: the benchmarks of one table, a YAML file in manifests/suites/ or anywhere else.

title: Five benchmarks
benchmarks: {LFW: [lfw:lfw, bin:lfw.bin], ORL: orl}     KIND:ARGUMENT; the first that is there
columns: {accuracy: accuracy, TAR: "tar_at_far[0.001]"}    {heading: figure of metrics.json}
reference: [{model: ArcFace, source: where it is printed, figures: {accuracy: {LFW: 99.8}}}]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from manifests.core import layout
from manifests.core.errors import InputError, pick
from manifests.core.parsing import forms_of, parse, parse_keys, required_of
from manifests.settings.params import read_yaml

MEAN = "mean"  # the column behind the benchmarks
ELSE = "else"
STEP = re.compile(r"([a-z][a-z0-9_]*)(?:\[([^\[\]]+)\])?")  # name, or name[key]
# What metrics.json has at its root that may stand in a table.
FIGURES = (
    "accuracy", "accuracy_std", "accuracy_facexzoo", "auc", "eer", "tar_at_far", "fnmr_at_fmr",
    "rank_1", "identification", "by_group",
)  # fmt: skip
RATIOS = ("ser", "gini", "worst_over_best")  # all else is a share of a hundred, but for
COUNTS = ("num_", "threshold")  # what is as it is
# Of a competition: its name in the table, and the columns that it ranks by.
COMPUTED = {
    "frcsyn": ("FRCSyn", ("AVG of groups", "SD", "TO", "AVG of sets", "GAP of TO", "GAP of AVG")),
    "sdfr": ("SDFR", ("Borda points", "place")),
}
LESS_IS_BETTER = ("eer", "std", *RATIOS)


@dataclass(frozen=True)
class Places:
    """Where a benchmark may lie, KIND:ARGUMENT, with paths relative to --data: one of them, or
    several in the order in which they are looked for."""

    texts: tuple[str, ...]

    @classmethod
    def parsed(cls, value: Any, where: str) -> Places:
        found = parse(tuple[str, ...], [value] if isinstance(value, str) else value, where)
        if not found:
            raise InputError(f"{where}: an empty list; name KIND:ARGUMENT, such as bin:lfw.bin")
        return cls(found)


@dataclass(frozen=True)
class Figure:
    """A figure of metrics.json, by the way to it: tar_at_far[0.001], by_group.accuracy_mean."""

    text: str
    path: tuple[str, ...]  # names and keys in turn: tar_at_far, 0.001

    @classmethod
    def parsed(cls, value: Any, where: str) -> Figure:
        text = parse(str, value, where)
        path: list[str] = []
        for step in re.split(r"\.(?![^\[]*\])", text):  # dots within brackets are a key's
            matched = STEP.fullmatch(step)
            if matched is None:
                raise InputError(
                    f"{where}: {text[:80]!r} is no way to a figure such as tar_at_far[0.001] or "
                    "by_group.accuracy_std"
                )
            path += [part for part in matched.groups() if part is not None]
        try:
            pick("figure", path[0], dict.fromkeys(FIGURES))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        return cls(text, tuple(path))

    @property
    def is_ratio(self) -> bool:
        return self.path[-1].endswith(RATIOS) or self.path[-1].startswith(COUNTS)

    @property
    def less_is_better(self) -> bool:
        return self.path[-1].endswith(LESS_IS_BETTER) or self.path[0] == "fnmr_at_fmr" or (
            self.path[-1].startswith(("fmr", "fnmr"))
        )  # fmt: skip


@dataclass(frozen=True)
class Chosen:
    """What a column shows: one figure, or another one of some benchmarks:
    {else: accuracy, IJB-B: "tar_at_far[0.0001]"}."""

    usual: Figure
    others: Mapping[str, Figure] = field(default_factory=dict)

    @classmethod
    def parsed(cls, value: Any, where: str) -> Chosen:
        if not isinstance(value, Mapping):
            return cls(Figure.parsed(value, where))
        found = dict(parse(Mapping[str, Figure], value, where))
        if ELSE not in found:
            raise InputError(f"{where}: missing key {ELSE!r}, the figure of all other benchmarks")
        return cls(found.pop(ELSE), found)

    def of(self, benchmark: str) -> Figure:
        return self.others.get(benchmark, self.usual)


@dataclass(frozen=True)
class Reference:
    """Figures that others published, in the units of the table."""

    model: str
    source: str  # of the figures, and how they were read there
    figures: Mapping[str, Mapping[str, float]]  # {column: {benchmark or mean: printed}}


ACCURACY = Figure("accuracy", ("accuracy",))


@dataclass(frozen=True)
class Suite:
    title: str
    benchmarks: Mapping[str, Places]  # by the name in the table
    columns: Mapping[str, Chosen] = field(default_factory=lambda: {"accuracy": Chosen(ACCURACY)})
    mean: bool = True  # over the benchmarks, where all of them are there
    rules: Literal["frcsyn", "sdfr"] | None = None  # of a competition, checked and computed
    reference: tuple[Reference, ...] = ()


def find_suite(text: str) -> Path:
    """The file of a suite by its name, or at a path that ends in .yaml."""
    if text.endswith((".yaml", ".yml")):
        return Path(text)
    here = {path.stem: path for path in layout.SUITES.glob("*.yaml")}
    return pick("suite", text, here)


def load_suite(path: Path) -> Suite:
    """Raises InputError naming the key that is unknown, missing, of another type, or that names a
    benchmark or a column that the suite lacks."""
    where = str(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; write a suite there (docs/SUITES.md)")
    suite = Suite(**parse_keys(forms_of(Suite), required_of(Suite), read_yaml(path), where))
    for name, known in (("benchmarks", suite.benchmarks), ("columns", suite.columns)):
        if not known:
            raise InputError(f"{where}: {name}: none; name at least one")
    if MEAN in suite.benchmarks:
        raise InputError(f"{where}: benchmarks: {MEAN!r} is the column behind them; rename it")
    for heading, chosen in suite.columns.items():
        for name in chosen.others:
            try:
                pick("benchmark", name, suite.benchmarks)
            except InputError as error:
                raise InputError(f"{where}: columns: {heading}: {error}") from None
    for place, reference in enumerate(suite.reference):
        _check_reference(suite, reference, f"{where}: reference[{place}]: figures")
    return suite


def _check_reference(suite: Suite, reference: Reference, where: str) -> None:
    names = dict.fromkeys([*suite.benchmarks, *([MEAN] if suite.mean else [])])
    known: dict[str, Mapping[str, None]] = dict.fromkeys(suite.columns, names)
    if suite.rules is not None:
        name, headings = COMPUTED[suite.rules]
        known |= {heading: {name: None} for heading in headings}
    try:
        for column, figures in reference.figures.items():
            for benchmark in figures:
                pick("benchmark", benchmark, pick("column", column, known))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
