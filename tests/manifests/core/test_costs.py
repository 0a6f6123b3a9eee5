"""What was recorded of a stage's work comes back, a line that a crash cut short is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from manifests.core import layout
from manifests.core.costs import Cost, full_rates, read_costs, seconds_by_stage, timed
from manifests.core.errors import InputError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def record(name: str, *lines: object) -> None:
    layout.COSTS.mkdir(parents=True, exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (layout.COSTS / f"{name}.jsonl").write_text("".join(f"{text}\n" for text in texts))


def test_what_is_timed_is_read_again() -> None:
    for stage, rows in (("render@team/pool", 5), ("report", None), ("render@team/pool", None)):
        with timed(stage, rows=rows):
            pass
    assert [(cost.stage, cost.round, cost.rows) for cost in read_costs()] == [
        ("render", "team/pool", 5), ("render", "team/pool", 0), ("report", "", 0),
    ]  # fmt: skip
    assert list(seconds_by_stage()) == ["render@team.pool", "report"]


def test_work_that_fails_is_not_recorded() -> None:
    with pytest.raises(KeyError), timed("render@pool"):
        raise KeyError
    assert list(read_costs()) == []


def test_the_last_work_of_a_stage_counts_and_studies_do_not() -> None:
    record(
        "gap@start",
        {"stage": "gap@start", "seconds": 9.0, "rows": None},
        {"stage": "gap@start", "seconds": 2.5, "rows": None},
    )
    record("train@studies.x.a", {"stage": "train@studies/x/a", "seconds": 4.0, "rows": None})
    assert seconds_by_stage() == {"gap@start": 2.5}


def test_rates_are_of_work_that_tells_how_much_it_was() -> None:
    record(
        "embed@a",
        {"stage": "embed@a", "seconds": 10.0, "rows": 50},
        {"stage": "embed@a", "seconds": 10.0, "rows": None},
        {"stage": "embed@a", "seconds": 10.0},
        {"stage": "embed@a", "seconds": 0.0, "rows": 50},
    )
    record("embed@b", {"stage": "embed@b", "seconds": 2.0, "rows": 50})
    assert full_rates("embed") == [5.0, 25.0]
    assert full_rates("embed", lambda round: round == "b") == [25.0]
    assert full_rates("render") == []


def test_a_torn_line_is_left() -> None:
    record("embed@a", {"stage": "embed@a", "seconds": 10.0, "rows": 50})
    with (layout.COSTS / "embed@a.jsonl").open("a") as file:
        file.write('{"stage": "emb')
    assert list(read_costs()) == [Cost("embed", "a", 10.0, 50)]


SECONDS = ("-1", "NaN", "Infinity", "1" + "0" * 400)
ROWS = ("-1", "1e400", "NaN")


def test_what_is_no_text_is_named() -> None:
    record("embed@a")
    (layout.COSTS / "embed@a.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(InputError, match=r"runs/costs/embed@a\.jsonl: not a line of costs"):
        list(read_costs())


@pytest.mark.parametrize(
    "line",
    [
        "{", "[]", '{"stage": 5}', '{"stage": "x"}', "null",
        *(f'{{"stage": "x", "seconds": {own}}}' for own in SECONDS),
        *(f'{{"stage": "x", "seconds": 1, "rows": {own}}}' for own in ROWS),
    ],
)  # fmt: skip
def test_a_line_that_is_none_is_named(line: str) -> None:
    record("embed@a", line)
    with pytest.raises(InputError, match=r"runs/costs/embed@a\.jsonl: not a line of costs"):
        list(read_costs())
