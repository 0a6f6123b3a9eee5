"""A suite's table as text, Markdown, CSV, LaTeX and JSON.

Names of models and benchmarks are whoever's: each form writes them so that they stay names.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eval.reporting.style import shortened
from eval.suites.table import PEOPLE, Cell, Row, Table
from manifests.core.backends import split_kind
from manifests.core.errors import InputError, plain

DASH = "–"
BEGIN, END = "<!-- the table begins -->", "<!-- the table ends -->"
BEST = (
    "better than every other model here by the paired test: the 95 % interval over people of the "
    "difference lies on one side of 0 and, where nobody knows who is who, McNemar's p is below 0.05"
)
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a spreadsheet would compute
LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "{}$&#%_"},
    **{sign: f"{{{sign}}}" for sign in "[*"},  # of a row's name: an option of the \\ before it
}  # fmt: skip
CSV_HEAD = (
    "model", "source", "benchmark", "figure", "value", "low", "high", "interval_over", "best",
    "why_not",
)  # fmt: skip


def number(cell: Cell) -> str:
    return DASH if cell.value is None else f"{cell.value:.{cell.digits}f}"


def interval(cell: Cell) -> str:
    return "" if cell.interval is None else "[{:.2f}, {:.2f}]".format(*cell.interval)


def notes(table: Table) -> list[str]:
    """What the table rests on: benchmarks, dashes, sources."""
    found = [
        f"{name}{_opened(facts)}: {facts['num_pairs']:,} pairs {_people(facts)}; protocol "
        f"{facts['protocol_sha256'][:12]}"
        for name, facts in table.benchmarks.items()
        if facts["results"]
    ]
    found += [f"{DASH} {reason}" for reason in table.reasons]
    sources = dict.fromkeys(row.source for row in table.published)
    for source in sources:
        names = [row.model for row in table.published if row.source == source]
        found.append(f"published ({source}): {'; '.join(names)}")
    return [plain(note) for note in (*found, *table.told)]


def _opened(facts: Mapping[str, Any]) -> str:
    """The folder's or file's own name."""
    argument = split_kind(facts["opened"])[1]
    return f" ({Path(argument).name})" if argument else ""


def _people(facts: Mapping[str, Any]) -> str:
    if facts["intervals_over"] == PEOPLE:
        return f"of {facts['num_subjects']:,} people, intervals over people"
    if facts["subject_rule"] == "image":
        return "of people whom nobody knows, intervals over pairs as if independent"
    return f"of {facts['num_subjects']:,} people, too few: intervals over pairs as if independent"


def text_table(table: Table, width: int) -> str:
    """For a screen of so many columns: what does not fit beside the names stands below. Two lines
    a model, figures above their intervals; * is the best."""
    blocks = ["\n".join(_block(table, places)) for places in _fitting(table, width)]
    best = any(cell.best for row in table.rows for cell in row.cells)
    star = [f"* {BEST}"] if best else []
    return "\n".join([plain(table.title), "\n\n".join(blocks), *star, *notes(table)])


def _name(row: Row) -> str:
    return shortened(plain(row.model) + (" (published)" if row.source else ""))


def _width(table: Table, place: int) -> int:
    """Of a column, with a sign for the best."""
    cells = [row.cells[place] for row in table.rows]
    shown = (table.heads[place], *map(interval, cells), *map(number, cells))
    return max(len(plain(text)) for text in shown) + 1


def _fitting(table: Table, width: int) -> list[list[int]]:
    """The places of the columns, in parts that fit beside the names; at least one in each."""
    names = max(map(len, map(_name, table.rows)))
    parts: list[list[int]] = [[]]
    left = width - names
    for place in range(len(table.columns)):
        needed = _width(table, place) + 2
        if parts[-1] and needed > left:
            parts.append([])
            left = width - names
        parts[-1].append(place)
        left -= needed
    return parts


def _block(table: Table, places: Sequence[int]) -> list[str]:
    """Some columns; published rows only where they have a figure there."""
    names = max(map(len, map(_name, table.rows)))
    rows = [["", *(f"{plain(table.heads[place])} " for place in places)]]
    for row in table.rows:
        cells = [row.cells[place] for place in places]
        if not row.source or any(cell.value is not None for cell in cells):
            stars = [number(cell) + ("*" if cell.best else " ") for cell in cells]
            rows.append([_name(row), *stars])
        if any(cell.interval for cell in cells):
            rows.append(["", *(f"{interval(cell)} " for cell in cells)])
    widths = [_width(table, place) for place in places]
    return [
        "  ".join(
            [name.ljust(names), *(c.rjust(w) for c, w in zip(cells, widths, strict=True))]
        ).rstrip()
        for name, *cells in rows
    ]


def markdown(table: Table) -> str:
    heads = ["model", *(_escaped(head) for head in table.heads)]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * len(table.heads)]
    for row in table.rows:
        cells = [_marked_up(cell) for cell in row.cells]
        name = _code(row.model) if not row.source else f"{_escaped(row.model)} (published)"
        lines.append(f"| {' | '.join([name, *cells])} |")
    best = [f"**Bold**: {BEST}."] if "**" in "".join(lines) else []
    told = [f"- {_escaped(note)}" for note in notes(table)]
    return "\n".join([*lines, "", *([*best, ""] if best else []), *told]).rstrip()


def _marked_up(cell: Cell) -> str:
    shown = f"**{number(cell)}**" if cell.best else number(cell)
    return f"{shown} {interval(cell)}".rstrip()


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", plain(text))


def _code(text: str) -> str:
    return "`" + plain(text).replace("`", "'").replace("|", r"\|") + "`"


def csv_table(table: Table) -> str:
    """A line a figure; the numbers are not rounded."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_HEAD)
    for row in table.rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            low, high = cell.interval or ("", "")
            words = (row.model, row.source, column.benchmark, column.heading)
            value = "" if cell.value is None else cell.value
            marked = "yes" if cell.best else ""
            numbers = (value, low, high, cell.over, marked, _harmless(cell.why_not))
            writer.writerow((*map(_harmless, words), *numbers))
    return file.getvalue()


def _harmless(text: str) -> str:
    """No formula to a spreadsheet, whatever it begins with."""
    return f"'{text}" if text.startswith(FORMULA) else text


def latex(table: Table) -> str:
    """For \\usepackage{booktabs}."""
    best = any(cell.best for row in table.rows for cell in row.cells)
    told = [plain(table.title), *([f"bold: {BEST}"] if best else []), *notes(table)]
    heads = [_tex(head) for head in ("", *table.heads)]
    body = [_tex_rows(table.measured)]
    body += [_tex_rows(table.published)] if table.published else []
    return "\n".join(
        [
            *(f"% {line}" for line in told),
            rf"\begin{{tabular}}{{l{'r' * len(table.heads)}}}",
            r"\toprule",
            " & ".join(heads) + r" \\",
            r"\midrule",
            "\n\\midrule\n".join(body),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _tex_rows(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        cells = [_tex_cell(cell) for cell in row.cells]
        lines.append(" & ".join([_tex(row.model), *cells]) + r" \\")
    return "\n".join(lines)


def _tex_cell(cell: Cell) -> str:
    if cell.value is None:
        return "--"
    return rf"\textbf{{{number(cell)}}}" if cell.best else number(cell)


def _tex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in plain(text))


def as_json(table: Table) -> dict[str, Any]:
    """Everything, figures by model, benchmark and column."""
    rows = [
        {
            "model": row.model,
            "source": row.source or None,
            "figures": [
                {"benchmark": column.benchmark, "column": column.heading, **asdict(cell)}
                for column, cell in zip(table.columns, row.cells, strict=True)
            ],
        }
        for row in table.rows
    ]
    return {
        "suite": table.name,
        "title": table.title,
        "columns": [
            {"benchmark": own.benchmark, "heading": own.heading, "figure": own.figure.text}
            for own in table.columns
        ],
        "benchmarks": table.benchmarks,
        "rows": rows,
        "marks": BEST,
    }


FORMS: dict[str, Callable[[Table], str]] = {
    "table.md": lambda table: markdown(table) + "\n",
    "table.csv": csv_table,
    "table.tex": latex,
}


def with_table(page: Path, text: str) -> str:
    """The page with a new text between its two marks. Raises InputError if it lacks them."""
    try:
        before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    except FileNotFoundError:
        raise InputError(f"{page}: no such page; name one that is there with --page") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{page}: not UTF-8 text ({error})") from None
    _, end, after = rest.partition(END)
    if not end:
        raise InputError(f"{page}: no lines {BEGIN} and {END}; put them where the table belongs")
    return f"{before}{begin}\n{text}\n{end}{after}"
