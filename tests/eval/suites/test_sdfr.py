"""SDFR: Borda against its slow twin, and who may enter which task."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.suites.sdfr import SETS, borda, check_task
from manifests.core.errors import InputError
from tests.eval.suites.entrants import CARD, FACES
from tests.references import competitions

FIGURES = st.dictionaries(
    st.sampled_from("abcde"),
    st.lists(st.integers(0, 4), min_size=len(SETS), max_size=len(SETS)),
    min_size=2,
)


@given(FIGURES)
def test_borda_is_what_its_slow_twin_counts(drawn: dict[str, list[int]]) -> None:
    figures = {name: dict(zip(SETS, map(float, row), strict=True)) for name, row in drawn.items()}
    points = competitions.borda_points(figures, SETS)
    found = borda(figures)
    assert {own.competitor: own.points for own in found} == pytest.approx(points)
    for own in found:
        assert own.place == 1 + sum(other > points[own.competitor] for other in points.values())
        assert own.tied == (list(points.values()).count(points[own.competitor]) > 1)
    assert [own.place for own in found] == sorted(own.place for own in found)


def test_ranks_by_hand() -> None:
    figures = {"ours": {"lfw": 0.99, "ijb-b": 0.5}, "a": {"lfw": 0.98, "ijb-b": 0.7},
               "b": {"lfw": 0.98, "ijb-b": 0.1}}  # fmt: skip
    first, *_, last = borda(figures, ("lfw", "ijb-b"))
    assert (first.competitor, first.points, first.tied) == ("ours", 3.0, False)
    assert first.ranks == {"lfw": 1.0, "ijb-b": 2.0}
    assert (last.competitor, last.ranks["lfw"], last.points) == ("b", 2.5, 0.5)


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"ours": dict.fromkeys(SETS, 0.9)}, "1 competitors"),
        ({"ours": dict.fromkeys(SETS, 0.9), "a": dict.fromkeys(SETS[1:], 0.9)}, "a has no figure"),
        ({"ours": dict.fromkeys(SETS, 0.9), "a": dict.fromkeys(SETS, float("nan"))}, "on lfw"),
    ],
)
def test_no_place_without_every_figure(figures: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        borda(figures)


def test_task_one_takes_a_million_faces_and_not_one_more() -> None:
    million = replace(FACES, used=1_000_000, synthetic=1_000_000)
    check_task("1", million)
    over = replace(million, used=1_000_001, synthetic=1_200_000)
    with pytest.raises(InputError, match="1,000,001 faces, 1 more than the 1,000,000"):
        check_task("1", over)
    check_task("2", over)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "iresnet-100"}, "a iresnet-100 of width 1"),
        ({"width": 0.5}, "iresnet-50 of width 0.5"),
        ({"embedding_width": 128}, "embeddings of 128 numbers"),
        ({"projected_from": 256}, "a linear layer makes of 256"),
    ],
)
def test_task_one_is_for_iresnet_50_as_it_is(change: dict, message: str) -> None:
    other = replace(FACES, card=replace(CARD, **change))
    with pytest.raises(InputError, match=message):
        check_task("1", other)
    check_task("2", other)


@pytest.mark.parametrize("task", ["1", "2"])
def test_no_task_takes_photographs(task: str) -> None:
    with pytest.raises(InputError, match=r"trained on 3 photographs \(of us\)"):
        check_task(task, replace(FACES, photographs=3, statements=("of us",)))
    with pytest.raises(InputError, match="trained on 3 faces without a stated source"):
        check_task(task, replace(FACES, unknown=3))
