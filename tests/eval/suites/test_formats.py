"""Forms of a table: what each writes, and that a name stays a name in every one."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from eval.reporting.curves import Roc
from eval.reporting.figures import det_figure, roc_figure
from eval.reporting.style import picture
from eval.suites.formats import (
    BEGIN,
    END,
    as_json,
    csv_table,
    latex,
    markdown,
    text_table,
    with_table,
)
from eval.suites.page import TEMPLATE, TITLES
from eval.suites.table import Cell, Column, Row, Table
from manifests.core.errors import InputError
from manifests.settings.suite import ACCURACY

HOSTILE = "=cmd|'x'!A1 $\\input{/etc/x}$ <script>_&%#~^\x1b[31m`\n| --- |"


def table_of(model: str = "runs/a_b", *, heading: str = "LFW", source: str = "S") -> Table:
    cells = (
        Cell(95.416, (92.471, 97.64), "people", best=True),
        Cell(why_not="nothing lies at data/x"),
    )
    facts = {
        "opened": "bin:data/lfw.bin", "num_pairs": 6000, "num_subjects": 5749, "num_images": 7701,
        "subject_rule": "folder", "protocol_sha256": "ab" * 32, "intervals_over": "people",
        "results": {model: "out"}, "why_not": {},
    }  # fmt: skip
    absent = {"opened": "", "results": {}, "why_not": {model: "nothing lies at data/x"}}
    return Table(
        "toy",
        "Two benchmarks, %",
        (Column(heading, "accuracy", ACCURACY), Column("CFP", "accuracy", ACCURACY)),
        (Row(model, cells), Row("M", (Cell(99.5), Cell()), source)),
        {heading: facts, "CFP": absent},
    )


def test_markdown() -> None:
    lines = markdown(table_of()).splitlines()
    assert lines[:4] == [
        "| model | LFW | CFP |",
        "|---|---:|---:|",
        "| `runs/a_b` | **95.42** [92.47, 97.64] | – |",
        "| M (published) | 99.50 | – |",
    ]
    assert lines[5].startswith("**Bold**: better than every other model")
    assert lines[7:] == [
        "- LFW (lfw.bin): 6,000 pairs of 5,749 people, intervals over people; "
        "protocol abababababab",
        "- – CFP: nothing lies at data/x",
        "- published (S): M",
    ]


def test_text_has_the_intervals_below_and_a_star_at_the_best() -> None:
    lines = text_table(table_of(), 80).splitlines()
    assert lines[0] == "Two benchmarks, %"
    assert lines[2].split() == ["runs/a_b", "95.42*", "–"]
    assert lines[3].split() == ["[92.47,", "97.64]"]
    assert lines[4].split() == ["M", "(published)", "99.50", "–"]
    assert lines[5].startswith("* better than every other model")


def test_text_that_is_wider_than_the_screen_goes_on_below() -> None:
    lines = text_table(table_of(), 30).splitlines()
    assert [line.split() for line in lines[1:7]] == [
        ["LFW"], ["runs/a_b", "95.42*"], ["[92.47,", "97.64]"], ["M", "(published)", "99.50"], [],
        ["CFP"],
    ]  # fmt: skip
    assert lines[7].split() == ["runs/a_b", "–"] and lines[8].startswith("* ")  # M has none there


def test_latex() -> None:
    lines = latex(table_of()).splitlines()
    assert lines[-9:] == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r" & LFW & CFP \\",
        r"\midrule",
        r"runs/a\_b & \textbf{95.42} & -- \\",
        r"\midrule",
        r"M & 99.50 & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert all(line.startswith("% ") for line in lines[:-9])


@pytest.mark.parametrize("name", ["[12] ArcFace", "*a"])
def test_no_row_is_an_option_of_the_line_before(name: str) -> None:
    """`\\\\` takes a star, and what stands in brackets, of the next line."""
    lines = latex(table_of(name)).splitlines()
    assert next(line for line in lines if line.endswith(r"-- \\")).startswith(f"{{{name[0]}}}")


def test_csv_is_a_line_a_figure_with_all_digits() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_table(table_of()))))
    assert [row["value"] for row in rows] == ["95.416", "", "99.5", ""]
    assert rows[0]["low"] == "92.471" and rows[0]["interval_over"] == "people"
    assert rows[0]["best"] == "yes" and rows[1]["why_not"] == "nothing lies at data/x"
    assert [row["source"] for row in rows] == ["", "", "S", "S"]


def test_json_has_everything() -> None:
    found = as_json(table_of())
    first = found["rows"][0]["figures"][0]
    assert first["value"] == 95.416 and first["benchmark"] == "LFW" and first["best"]
    assert found["rows"][1]["source"] == "S" and found["columns"][0]["figure"] == "accuracy"
    assert found["benchmarks"]["CFP"]["why_not"] == {"runs/a_b": "nothing lies at data/x"}


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_name_is_a_formula_to_a_spreadsheet(sign: str) -> None:
    table = table_of(f"{sign}1+1", heading=f"{sign}2", source=f"{sign}3")
    rows = list(csv.reader(io.StringIO(csv_table(table), newline="")))
    texts = [cell for row in rows for cell in (*row[:4], row[-1])]
    assert not any(text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for text in texts)


def test_no_name_is_a_command_to_latex() -> None:
    text = latex(table_of(HOSTILE, heading=HOSTILE, source=HOSTILE))
    rows = [line for line in text.splitlines() if not line.startswith("%")]
    assert len(rows) == 9  # a line break in a name makes no line
    shown = rows[4].partition(" & ")[0]
    assert r"\$\textbackslash{}input\{/etc/x\}\$" in shown
    assert r"\_\&\%\#\textasciitilde{}\textasciicircum{}" in shown and "\x1b" not in text


def test_no_name_is_a_formula_in_a_picture() -> None:
    ends = np.array([0.0, 1.0])
    curves = [Roc("LFW", "onnx:$\\frac{$.onnx", ends, ends, 100)]
    for draw in (roc_figure, det_figure):
        assert picture(draw(curves)).startswith(b"\x89PNG")


def test_no_name_breaks_a_markdown_table_or_the_screen() -> None:
    text = markdown(table_of(HOSTILE, heading=HOSTILE, source=HOSTILE))
    head, _, row, *_ = text.splitlines()
    for line in (head, row):
        assert line.replace(r"\|", "").count("|") == 4
    assert r"\<script\>" in head and row.count("`") == 2
    assert "\x1b" not in text + text_table(table_of(HOSTILE), 200)
    assert len(text_table(table_of(HOSTILE), 200).splitlines()) == 9


def test_a_page_takes_the_table_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    assert with_table(page, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(InputError, match="no lines <!-- the table begins -->"):
        with_table(page, "new")
    page.write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"README\.md: not UTF-8 text"):
        with_table(page, "new")
    with pytest.raises(InputError, match="no such page"):
        with_table(tmp_path / "none.md", "new")


def test_no_name_is_markup_on_the_page() -> None:
    from eval.reporting.page import render_page
    from eval.reporting.style import COLOURS
    from eval.suites.formats import BEST, interval, notes, number

    table = table_of(HOSTILE, heading=HOSTILE, source=HOSTILE)
    content = {
        "table": table, "curves": {}, "titles": TITLES, "notes": notes(table),
        "best": BEST, "number": number, "interval": interval, "colours": COLOURS,
    }  # fmt: skip
    page = render_page(content, TEMPLATE)
    assert "<script" not in page and "&lt;script&gt;" in page
