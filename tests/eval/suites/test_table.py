"""The table: figures by hand, dashes with reasons, the best only where a paired test says so."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from eval.suites import table as table_module
from eval.suites.running import Measured
from eval.suites.table import Column, Row, Table, best_of, make_table
from manifests.core.files import read_json
from manifests.core.parsing import parse
from manifests.settings.suite import Figure, Suite, load_suite
from tests.conftest import ROOT
from tests.eval.test_compare import worse
from tests.results import people_table, write_result

FACTS = {"num_images": 7, "alignment": "none", "views": "plain"}


def suite_of(*benchmarks: str, **changed: Any) -> Suite:
    given = {"title": "T", "benchmarks": dict.fromkeys(benchmarks, "orl"), **changed}
    found: Suite = parse(Suite, given, "here")
    return found


def result(folder: Path, table: pa.Table, **changed: Any) -> Path:
    return write_result(folder, table, changed=FACTS | changed)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Results of 60 people: a good model, one that errs like it, one that is clearly worse."""
    root, good = tmp_path_factory.mktemp("results"), people_table(4, people=60)
    tables = {"good": good, "like": worse(good, 0.02), "bad": worse(good, 0.4)}
    return {name: result(root / name, table) for name, table in tables.items()}


def values(row: Row) -> list[float | None]:
    return [cell.value for cell in row.cells]


def marks(table: Table) -> dict[str, list[bool]]:
    return {row.model: [cell.best for cell in row.cells] for row in table.measured}


def test_cells_are_the_figures_of_the_results_in_points(folders: dict[str, Path]) -> None:
    columns = {"accuracy": "accuracy", "EER": "eer", "TAR": "tar_at_far[0.01]"}
    suite = suite_of("A", columns=columns, mean=False)
    table = make_table("toy", suite, ["good"], {"A": Measured("orl", {"good": folders["good"]})})
    said = read_json(folders["good"] / "metrics.json")
    accuracy, eer, tar = table.measured[0].cells
    assert accuracy.value == pytest.approx(100 * said["accuracy"])
    assert accuracy.interval == pytest.approx([100 * x for x in said["accuracy_ci95_identity"]])
    assert accuracy.over == "people" and eer.value == pytest.approx(100 * said["eer"])
    assert tar.value is None  # 240 impostors bear no FAR of 0.01
    assert table.reasons == ["A, TAR: its pairs do not allow this figure"]
    assert table.heads == ["A, accuracy", "A, EER", "A, TAR"]
    assert table.benchmarks["A"]["num_pairs"] == 360
    assert not any(cell.best for cell in table.measured[0].cells)  # of one model


def test_who_is_not_known_has_an_interval_over_pairs(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    table = people_table(4, people=60)
    folder = result(tmp_path / "bin", table, subject_rule="image")
    made = make_table("toy", suite_of("A"), ["m"], {"A": Measured("bin:x", {"m": folder})})
    cell = made.measured[0].cells[0]
    said = read_json(folder / "metrics.json")
    assert cell.over == "pairs"
    assert cell.interval == pytest.approx([100 * end for end in said["accuracy_ci95"]])


def test_the_mean_is_of_all_benchmarks_or_of_none(tmp_path: Path, folders: dict[str, Path]) -> None:
    other = result(tmp_path / "other", worse(people_table(9, people=60), 0.3))
    both = {
        "A": Measured("orl", {"good": folders["good"]}),
        "B": Measured("orl", {"good": other}),
    }
    one, two, mean = values(make_table("t", suite_of("A", "B"), ["good"], both).measured[0])
    assert mean == pytest.approx((one + two) / 2)  # type: ignore[operator]
    lacking = both | {"B": Measured("", {}, {"good": "nothing lies at B"})}
    table = make_table("t", suite_of("A", "B"), ["good"], lacking)
    assert values(table.measured[0]) == [one, None, None]
    assert table.reasons == ["B: nothing lies at B", "mean: 1 of 2 benchmarks have the figure"]


def test_the_best_is_marked_only_where_it_is_better_than_every_other_one(
    folders: dict[str, Path],
) -> None:
    def marked(*models: str) -> dict[str, list[bool]]:
        results = {model: folders[model] for model in models}
        measured = {"A": Measured("orl", results), "B": Measured("orl", results)}
        return marks(make_table("t", suite_of("A", "B"), models, measured))

    assert marked("bad", "good") == {"bad": [False] * 3, "good": [True] * 3}  # and so in the mean
    assert not any(map(any, marked("good", "like", "bad").values()))  # the first two are alike


def test_of_less_is_better_the_least_is_marked_and_untested_figures_never(
    folders: dict[str, Path],
) -> None:
    columns = {"EER": "eer", "AUC": "auc", "std": "accuracy_std"}
    suite = suite_of("A", columns=columns, mean=False)
    results = {name: folders[name] for name in ("good", "bad")}
    table = make_table("t", suite, ["good", "bad"], {"A": Measured("orl", results)})
    assert marks(table) == {"good": [True, True, False], "bad": [False] * 3}


def test_a_narrow_interval_over_unknown_people_does_not_decide_alone(tmp_path: Path) -> None:
    """The decisions differ in one pair: McNemar's test sees nothing there."""
    good = people_table(4, people=60)
    scores = good["score"].to_numpy()
    place = int(np.argmin(np.where(good["same"].to_numpy(), scores, np.inf)))
    bad = scores.copy()
    bad[place] = -1.0
    tables = {"one": good, "two": good.set_column(5, good.schema.field("score"), pa.array(bad))}
    results = {
        name: result(tmp_path / name, table, subject_rule="image") for name, table in tables.items()
    }
    table = make_table("t", suite_of("A"), ["one", "two"], {"A": Measured("bin:x", results)})
    assert not any(map(any, marks(table).values()))


@pytest.mark.parametrize("figure", ["accuracy", "auc", "eer", "tar_at_far[0.01]"])
def test_nor_does_it_for_any_figure(figure: str) -> None:
    """As the words beside the mark say."""
    name = figure.replace("tar_at_far[0.01]", "tar@0.01")
    sign = -1 if figure == "eer" else 1
    difference = {name: {"ci95_identity": sorted([sign * 0.01, sign * 0.02])}}
    facts = {"num_subjects": 60, "num_folds": 10, "subject_rule": "image"}
    column = Column("A", "x", parse(Figure, figure, "here"))
    values = {"a": 50.0 + sign, "b": 50.0 - sign}

    def best(p: float) -> str | None:
        found = {"difference": difference, "mcnemar": {"p_value": p}}
        return best_of(column, values, dict.fromkeys(values, facts), lambda *_: found)

    assert best(0.3) is None and best(0.01) == "a"


def test_with_few_people_nothing_is_marked(tmp_path: Path) -> None:
    good = people_table(4, people=9)
    results = {
        "good": result(tmp_path / "good", good),
        "bad": result(tmp_path / "bad", worse(good, 0.9)),
    }
    table = make_table("t", suite_of("A"), ["good", "bad"], {"A": Measured("orl", results)})
    assert not any(map(any, marks(table).values()))


def test_figures_of_groups_are_found_by_their_way(tmp_path: Path) -> None:
    groups = {"African": {"accuracy": {"value": 0.9, "ci95_identity": [0.8, 0.95]}}}
    by_group = {"groups": groups, "accuracy_ser": {"value": 1.5}, "accuracy_std": None}
    folder = result(tmp_path / "m", people_table(1, people=20), by_group=by_group)
    columns = {
        "African": "by_group.groups[African].accuracy",
        "Indian": "by_group.groups[Indian].accuracy",
        "SER": "by_group.accuracy_ser",
        "STD": "by_group.accuracy_std",
        "all": "by_group.groups",
        "rank": "identification.rank_1",
    }
    suite = suite_of("RFW", columns=columns, mean=False)
    table = make_table("t", suite, ["m"], {"RFW": Measured("rfw:x", {"m": folder})})
    assert values(table.measured[0]) == [90.0, None, 1.5, None, None, None]
    assert table.measured[0].cells[0].interval == (80.0, 95.0)
    assert [reason.split(": ", 1)[1] for reason in table.reasons] == [
        "its results have no Indian",
        "its pairs do not allow this figure",
        "groups is no single figure",
        "its results have no identification",
    ]


def test_numbers_and_thresholds_are_no_shares(tmp_path: Path) -> None:
    found = {"num_probes": 300, "tpir_at_fpir": {"0.01": {"value": 0.5, "threshold": 0.31}}}
    folder = result(tmp_path / "m", people_table(1, people=20), identification=found)
    columns = {
        "probes": "identification.num_probes",
        "TPIR": "identification.tpir_at_fpir[0.01]",
        "at": "identification.tpir_at_fpir[0.01].threshold",
    }
    suite = suite_of("T", columns=columns, mean=False)
    table = make_table("t", suite, ["m"], {"T": Measured("templates:x", {"m": folder})})
    assert values(table.measured[0]) == [300, 50.0, 0.31]


def test_the_open_set_figure_of_two_galleries_is_their_mean(tmp_path: Path) -> None:
    """Among the people of both there is no stranger: every probe of IJB has a mate in one."""
    found = {
        "tpir_at_fpir": {"0.01": None},
        "mean_over_galleries": {"tpir_at_fpir": {"0.01": 0.875}},
    }
    folder = result(tmp_path / "m", people_table(1, people=20), identification=found)
    suite = load_suite(ROOT / "manifests/suites/ijb.yaml")
    measured = {name: Measured("ijb:x", {"m": folder}) for name in suite.benchmarks}
    table = make_table("ijb", suite, ["m"], measured)
    shown = dict(zip(table.heads, values(table.measured[0]), strict=True))
    assert shown["IJB-C, TPIR at FPIR 1 %, mean of galleries"] == pytest.approx(87.5)


def test_results_of_one_benchmark_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Read:
        """Stands for a result."""

    held: list[weakref.ref[Read]] = []

    def read(folder: Path) -> Read:
        made = Read()
        held.append(weakref.ref(made))
        return made

    monkeypatch.setattr(table_module, "read_result", read)
    monkeypatch.setattr(table_module, "paired", lambda a, b: {})
    models = ("x", "y", "z")
    measured = {
        name: Measured("orl", {model: Path(name, model) for model in models}) for name in "ABC"
    }
    compare = table_module._comparing(measured)
    for name in measured:
        for other in models[1:]:
            compare(name, "x", other)
    gc.collect()
    assert len(held) == 9 and sum(each() is not None for each in held) == 3


def test_published_rows_stand_apart_as_they_are_printed(folders: dict[str, Path]) -> None:
    reference = [{"model": "M", "source": "S", "figures": {"accuracy": {"A": 99.52}}}]
    suite = suite_of("A", "B", reference=reference)
    measured = {name: Measured("orl", {"good": folders["good"]}) for name in ("A", "B")}
    table = make_table("t", suite, ["good"], measured)
    (row,) = table.published
    assert (row.model, row.source, values(row)) == ("M", "S", [99.52, None, None])
    assert not table.reasons  # a figure that was never printed needs none
    assert [own.model for own in table.measured] == ["good"]
