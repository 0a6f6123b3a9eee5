"""Competitions in a suite: their columns by hand, who is refused, and what is handed in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.photos.models import Model
from eval.suites import rules, sdfr
from eval.suites.rules import Entry, by_rules, check_entry, entrant, write_submission
from eval.suites.running import Measured
from eval.suites.table import Table, make_table
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.settings.suite import Suite, load_suite
from tests.conftest import ROOT
from tests.eval.suites.entrants import FACES
from tests.eval.suites.test_table import result, suite_of
from tests.protocols import colours
from tests.results import people_table

SETS = ("BUPT", "AgeDB", "CFP-FP", "ROF")
PATH = Path("toy.yaml")


def model(name: str) -> Model:
    return replace(colours(), name=name, sha256=name)


def grouped(**accuracy: float | None) -> dict[str, Any]:
    groups = {name: {"accuracy": value and {"value": value}} for name, value in accuracy.items()}
    return {"by_group": {"groups": groups}}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Measured]:
    """Two models on FRCSyn's four sets; the groups' accuracies are made up."""
    root = tmp_path_factory.mktemp("frcsyn")
    spreads = {"syn": grouped(a=0.90, b=0.96), "real": grouped(a=0.95, b=0.97)}
    found = {}
    for place, name in enumerate(SETS):
        folders = {
            own: result(root / name / own, people_table(seed + place, people=30), **spreads[own])
            for seed, own in enumerate(spreads)
        }
        found[name] = Measured("pairs:x", folders)
    return found


def frcsyn_suite(**changed: Any) -> Suite:
    return suite_of(*SETS, mean=False, rules="frcsyn", **changed)


def figures(table: Table, name: str) -> dict[str, float | None]:
    row = next(row for row in table.rows if row.model == name)
    return {
        column.heading: cell.value
        for column, cell in zip(table.columns, row.cells, strict=True)
        if column.computed
    }


def test_frcsyn_s_columns(measured: dict[str, Measured]) -> None:
    printed = [{"model": "M", "source": "S", "figures": {"TO": {"FRCSyn": 96.7}}}]
    suite = frcsyn_suite(reference=printed)
    table = by_rules(make_table("t", suite, ["syn", "real"], measured), suite, measured, "real")
    syn, real = figures(table, "syn"), figures(table, "real")
    assert syn["AVG of groups"] == pytest.approx(93.0)
    assert syn["SD"] == pytest.approx(3.0)  # of the population
    assert syn["TO"] == pytest.approx(90.0)
    assert syn["GAP of TO"] == pytest.approx(100 * (95.0 - 90.0) / 90.0)
    assert real["GAP of TO"] == pytest.approx(0.0)
    shares = [
        read_json(own.results["syn"] / "metrics.json")["accuracy"] for own in measured.values()
    ]
    assert syn["AVG of sets"] == pytest.approx(100 * float(np.mean(shares)))
    assert figures(table, "M")["TO"] == 96.7 and figures(table, "M")["SD"] is None
    assert table.heads[-6:] == [
        "FRCSyn, AVG of groups", "FRCSyn, SD", "FRCSyn, TO", "FRCSyn, AVG of sets",
        "FRCSyn, GAP of TO", "FRCSyn, GAP of AVG",
    ]  # fmt: skip
    assert table.heads[0] == "BUPT"
    assert table.told == (
        "FRCSyn: AVG, SD and TO of what was measured are over 2 groups (a, b), those published "
        "over 8: not to be held against each other",
    )


def test_what_cannot_be_computed_is_a_dash_with_the_reason(measured: dict[str, Measured]) -> None:
    lacking = measured | {"ROF": Measured("", {}, {"syn": "nothing lies there"})}
    suite = frcsyn_suite()
    table = by_rules(make_table("t", suite, ["syn"], lacking), suite, lacking)
    found = figures(table, "syn")
    assert found["AVG of sets"] is None and found["GAP of TO"] is None
    assert found["TO"] == pytest.approx(90.0)
    assert any("no accuracy on rof" in reason for reason in table.reasons)
    assert any("no model named by --baseline" in reason for reason in table.reasons)


def test_a_spread_without_one_of_the_groups_is_none(tmp_path: Path) -> None:
    spread = grouped(a=0.90, b=0.96, c=None)
    folder = result(tmp_path / "m", people_table(0, people=30), **spread)
    measured = {name: Measured("pairs:x", {"m": folder}) for name in SETS}
    suite = frcsyn_suite()
    table = by_rules(make_table("t", suite, ["m"], measured), suite, measured)
    found = figures(table, "m")
    assert [found[name] for name in ("AVG of groups", "SD", "TO")] == [None] * 3
    assert any("frcsyn: no accuracy of c; its pairs are too few" in why for why in table.reasons)


def test_rows_that_are_called_alike_keep_their_own_figures(measured: dict[str, Measured]) -> None:
    """Two sources print one model, and one prints a model that is measured here."""
    printed = [
        {"model": name, "source": source, "figures": {"TO": {"FRCSyn": value}}}
        for name, source, value in (("M", "S", 96.7), ("M", "T", 95.1), ("syn", "S", 91.0))
    ]
    suite = frcsyn_suite(reference=printed)
    table = by_rules(make_table("t", suite, ["syn", "real"], measured), suite, measured)
    at = [column.heading for column in table.columns].index("TO")
    assert [row.cells[at].value for row in table.published] == [96.7, 95.1, 91.0]
    assert [row.cells[at].value for row in table.measured] == pytest.approx([90.0, 95.0])


def test_sdfr_ranks_rows_that_are_called_alike_each_by_its_own(tmp_path: Path) -> None:
    names = [name.upper() for name in sdfr.SETS]
    folder = result(tmp_path / "m", people_table(0, people=30))
    measured = {name: Measured("bin:x", {"m": folder}) for name in names}
    printed = [
        {"model": "m", "source": source, "figures": {"accuracy": dict.fromkeys(names, value)}}
        for source, value in (("S", 99.99), ("T", 1.0))
    ]
    suite = suite_of(*names, mean=False, rules="sdfr", reference=printed)
    table = by_rules(make_table("t", suite, ["m"], measured), suite, measured)
    assert [row.cells[-2].value for row in table.rows] == [7.0, 14.0, 0.0]
    assert [row.cells[-1].value for row in table.rows] == [2.0, 1.0, 3.0]


def test_sdfr_ranks_among_those_who_have_every_set(tmp_path: Path) -> None:
    names = [name.upper() for name in sdfr.SETS]
    measured = {}
    for place, name in enumerate(names):
        folders = {
            own: result(tmp_path / name / own, people_table(place, people=30, noise=noise))
            for own, noise in (("good", 0.05), ("bad", 0.6))
        }
        measured[name] = Measured("bin:x", folders)
    whole = {"accuracy": dict.fromkeys(names, 99.99)}
    part = {"accuracy": {names[0]: 99.99}}
    printed = [{"model": own, "source": "S", "figures": each} for own, each in
               (("whole", whole), ("part", part))]  # fmt: skip
    suite = suite_of(*names, mean=False, rules="sdfr", reference=printed)
    table = by_rules(make_table("t", suite, ["good", "bad"], measured), suite, measured)
    places = {row.model: figures(table, row.model)["place"] for row in table.rows}
    assert places["bad"] == 3.0 and places["part"] is None
    assert figures(table, "bad")["Borda points"] == 0.0
    total = [figures(table, own)["Borda points"] for own in ("good", "bad", "whole")]
    assert sum(filter(None, total)) == pytest.approx(7 * (0 + 1 + 2))


def test_a_run_over_the_cap_is_refused_with_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    over, suite = replace(FACES, used=500_001, synthetic=500_001), frcsyn_suite()
    monkeypatch.setattr(rules, "faces_of_run", lambda run: over)
    with pytest.raises(InputError, match="500,001 synthetic faces, 1 more than the 500,000"):
        check_entry(suite, PATH, Entry("1.1"), [model("runs/a")])
    assert check_entry(suite, PATH, Entry("1.2"), [model("runs/a")]) == []
    assert check_entry(suite, PATH, Entry("1.1", "runs/a"), [model("runs/a")]) == []  # the baseline
    told = check_entry(suite, PATH, Entry("1.2"), [model("onnx:x"), model("teacher:y")])
    assert told[0] == "onnx:x: what it was trained on is not known here: task 1.2 is not checked"


def test_a_task_is_one_of_the_suite_s_rules() -> None:
    with pytest.raises(InputError, match=r"unknown task '3.1'; valid names: 1.1, 1.2"):
        check_entry(frcsyn_suite(), PATH, Entry("3.1"), [])
    with pytest.raises(InputError, match=r"toy.yaml: it has no rules; --baseline"):
        check_entry(suite_of("A"), PATH, Entry("1.1"), [])
    with pytest.raises(InputError, match=r"toy.yaml: its rules need --task; --baseline"):
        check_entry(frcsyn_suite(), PATH, Entry(baseline="runs/a"), [])
    assert check_entry(suite_of("A"), PATH, Entry(), [model("runs/a")]) == []


def test_one_model_is_handed_in_with_a_threshold(
    tmp_path: Path, measured: dict[str, Measured]
) -> None:
    suite, both = frcsyn_suite(), [model("syn"), model("real")]
    for entry, said in (
        (Entry(), "of a --task"),
        (Entry("2.1", None, 0.5), "2 models beside the baseline"),
        (Entry("2.1", "real"), "needs --threshold"),
        (Entry("2.1", "real", float("nan")), "needs --threshold"),
    ):
        with pytest.raises(InputError, match=said):
            entrant(suite, entry, both)
    entry = Entry("2.1", "real", 0.5)
    assert entrant(suite, entry, both) == "syn"
    paths = write_submission(suite, entry, "syn", measured, tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in paths} == {
        f"2.1/{name}/proposed.txt" for name in ("bupt", "agedb", "cfp-fp", "rof")
    }
    lines = paths[0].read_text(encoding="utf-8").splitlines()
    assert len(lines) == 180 and all(line[-2:] in (",0", ",1") for line in lines)


def test_sdfr_takes_an_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    suite = suite_of(*sdfr.SETS, rules="sdfr")
    with pytest.raises(InputError, match=r"runs/exports/a/student\.onnx: no such file; run facest"):
        entrant(suite, Entry("1"), [model("runs/a")])


@pytest.mark.parametrize(("name", "sets"), [("frcsyn", SETS), ("sdfr", sdfr.SETS)])
def test_the_suites_have_the_sets_of_their_rules(name: str, sets: tuple[str, ...]) -> None:
    suite = load_suite(ROOT / f"manifests/suites/{name}.yaml")
    assert suite.rules == name
    assert {own.casefold() for own in suite.benchmarks} == {own.casefold() for own in sets}
