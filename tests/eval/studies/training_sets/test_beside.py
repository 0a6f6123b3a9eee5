"""What is set beside a training set: of these very stores, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.attributes.coverage import FaceSet
from eval.studies.training_sets.beside import (
    Stores,
    cost_of,
    drifts,
    faces_of,
    leakage_of,
    quality_of,
)
from manifests.core import layout
from manifests.core.costs import Cost
from manifests.core.errors import InputError
from manifests.core.files import write_json
from manifests.records.attributes import FACES, PHOTOGRAPHS, Attribute, AttributeTable, Source
from tests.toys import make_round

YAW = Attribute("yaw", "degrees", -90.0, 90.0, (-45.0, -15.0, 15.0, 45.0), "to the right")
ROLL = Attribute("roll", "degrees", -90.0, 90.0, (-45.0, 0.0, 45.0), "to the right")
SETS = {
    "one": Stores({"pool": frozenset({"aa" * 32})}, 200),
    "two": Stores({"pool": frozenset({"aa" * 32}), "more": frozenset({"bb" * 32})}, 300),
}


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table(
    name: str, yaw: float, roll: float, kind: str = FACES, digest: str = ""
) -> AttributeTable:
    """Forty faces; every fourth looks straight ahead."""
    count = 40
    values = np.stack([np.where(np.arange(count) % 4, yaw, 0), np.full(count, roll)], axis=1)
    source = Source(kind, name, digest or name.encode().hex().ljust(64, "0"))
    ids = np.arange(count) if kind == FACES else None
    images = None if kind == FACES else tuple(f"s{row}/1.pgm" for row in range(count))
    annotator = {"name": "toy", "version": "1"}
    people = tuple(f"s{row}" for row in range(count)) if images else ("",) * count
    return AttributeTable(
        annotator, source, (YAW, ROLL), values.astype(np.float32), ids, images, people
    )


def face_set(*tables: AttributeTable) -> FaceSet:
    return FaceSet(tables[0].source.name, tables)


def test_a_set_like_the_photographs_drifts_less() -> None:
    real = face_set(table("orl", 20, 5, PHOTOGRAPHS))
    found = drifts(
        real, {"near": face_set(table("near", 20, 5)), "far": face_set(table("f", 60, 5))}
    )
    assert found["near"]["mean"] == pytest.approx(0.0, abs=1e-6)
    far = found["far"]["attributes"]
    assert far["roll"]["value"] == pytest.approx(0.0, abs=1e-6)
    assert found["far"]["mean"] == pytest.approx(far["yaw"]["value"] / 2, abs=1e-6)
    assert far["yaw"]["ci95"][0] < far["yaw"]["value"] < far["yaw"]["ci95"][1]


def test_the_means_of_all_sets_are_of_the_same_attributes() -> None:
    real = face_set(table("orl", 20, 5, PHOTOGRAPHS))
    blind = face_set(table("blind", 20, np.nan))
    found = drifts(real, {"blind": blind, "whole": face_set(table("whole", 20, 5))})
    assert [*found["whole"]["attributes"]] == ["yaw"] == [*found["blind"]["attributes"]]
    nobody = face_set(table("nobody", np.nan, np.nan))
    only_zero = drifts(real, {"nobody": nobody})
    assert only_zero == {}  # a quarter of 40 faces is too few


def test_two_sets_may_share_a_round() -> None:
    real, pool = face_set(table("orl", 20, 5, PHOTOGRAPHS)), table("pool", 60, 5)
    both = face_set(pool, table("more", 20, 5))
    found = drifts(real, {"one": face_set(pool), "two": both})
    assert found["two"]["mean"] < found["one"]["mean"]


def test_attributes_must_be_of_the_faces_that_are_here() -> None:
    store, _ = make_round("pool", 40, failed=0.0)
    assert faces_of("one", ["pool"]) == (None, [])
    path = layout.attributes("pool", "measured")
    table("pool", 20, 5, digest=store.root).write(path)
    faces, paths = faces_of("one", ["pool"])
    assert faces is not None and len(faces) == 40 and paths == [path]
    make_round("pool", 40, seed=5, failed=0.0)
    with pytest.raises(InputError, match="run `facestill annotate pool`"):
        faces_of("one", ["pool"])


def share(value: float) -> dict[str, Any]:
    return {"value": value, "ci95": [0.0, 1.0]}


def leak(rounds: dict[str, str], teacher: str = "toy", above: float = 0.01) -> dict[str, Any]:
    best = {"synthetic": {"above_threshold": share(above)},
            "real_other_person": {"above_threshold": share(0.5)}}  # fmt: skip
    return {
        "rounds": rounds, "photographs": "orl", "teacher": {"name": teacher}, "best_match": best,
    }  # fmt: skip


def test_a_report_of_leakage_is_of_the_set_whose_rounds_it_names() -> None:
    write_json(Path("one.json"), leak({"pool": "aa" * 32}))
    rounds = {"more": "bb" * 32, "pool": "aa" * 32}
    several = {"a": leak({}, above=0.1), "b": leak({}, above=0.2)}
    write_json(Path("two.json"), {"rounds": rounds, "photographs": "orl", "teachers": several})
    found, digests = leakage_of([Path("one.json"), Path("two.json")], SETS)
    assert found["one"]["teachers"]["toy"]["synthetic"]["value"] == 0.01
    two = found["two"]["teachers"]
    assert {name: own["synthetic"]["value"] for name, own in two.items()} == {"a": 0.1, "b": 0.2}
    assert set(digests) == {"one.json", "two.json"}
    with pytest.raises(InputError, match=r"one\.json: a second report on one; name one under leak"):
        leakage_of([Path("one.json")] * 2, SETS)


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (leak({"pool": "cc" * 32}), "of other stores of pool"),
        (leak({"more": "bb" * 32}), "of more, the rounds of no set"),
        ({"rounds": {"pool": "aa" * 32}}, "not a report of `facestill leakage`"),
        ([], "not a report of `facestill leakage`"),
    ],
)
def test_another_report_is_refused(report: Any, message: str) -> None:
    write_json(Path("leak.json"), report)
    with pytest.raises(InputError, match=message):
        leakage_of([Path("leak.json")], SETS)


def test_the_quality_of_identities_is_of_the_set_of_that_round_alone() -> None:
    path = Path("quality.json")
    assert quality_of(path, SETS) == ({}, {})
    kept = {"kept": {"eer": 0.03, "fdr": 7.0, "fmr100": 0.1}}
    judged = {"round": "pool", "faces_root": "aa" * 32, "judges": {"teacher": kept}}
    write_json(path, judged)
    found, digests = quality_of(path, SETS)
    assert found == {"one": {"teacher": {"eer": 0.03, "fdr": 7.0}}} and [*digests] == [
        "quality.json"
    ]
    write_json(path, {**judged, "faces_root": "cc" * 32})
    assert quality_of(path, SETS) == ({}, {})


def test_cost_is_of_the_last_work_on_every_round() -> None:
    costs = [
        Cost("render", "pool", 99.0, 200), Cost("render", "pool", 10.0, 200),
        Cost("embed", "pool", 5.0, 200), Cost("gap", "pool", 50.0, 0),
        Cost("train", "start", 70.0, 0),
    ]  # fmt: skip
    own = cost_of(["pool"], SETS["one"], costs)
    assert own == {"seconds": 15.0, "seconds_a_thousand": pytest.approx(75.0)}
    assert cost_of(["pool", "more"], SETS["two"], costs) is None
    both = cost_of(["pool", "more"], SETS["two"], [*costs, Cost("adopt", "more", 3.0, 100)])
    assert both == {"seconds": 18.0, "seconds_a_thousand": pytest.approx(60.0)}
