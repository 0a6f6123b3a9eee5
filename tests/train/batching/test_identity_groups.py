"""Groups of identities: disjoint, equally large, and alike in what they are said to share."""

from __future__ import annotations

from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.records.attributes import FACES, MEASURED, Attribute, AttributeTable
from manifests.records.attributes import Source as MeasuredSource
from manifests.settings.objectives import IdentityPart
from manifests.settings.params import Params, load_params
from tests.conftest import ROOT
from tests.toys import make_round
from train.batching.identity_groups import like_values, only_part, regions_of
from train.batching.sources import Source, open_sources, usable_identities

ROUNDS, PEOPLE, COUNT = ("one", "two"), 12, 120
RULES = ("balanced", "region", "yaw")
YAW = Attribute("yaw", "°", -2.0, 99.0, (-2.0, 0.0, 99.0), "to the left")


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("groups")
    with chdir(root):
        for seed, name in enumerate(ROUNDS):
            people = np.ma.masked_greater(np.arange(COUNT) % (PEOPLE + 1), PEOPLE - 1)
            make_round(name, COUNT, seed=seed, origin="boundary", identity_id=people)
    return root


@pytest.fixture
def params(rounds: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(rounds)
    found = load_params(ROOT / "params.yaml")
    return replace(found, teacher="toy", train=replace(found.train, leave_out=()))


@pytest.fixture
def sources(params: Params) -> list[Source]:
    found, _ = open_sources(ROUNDS, (), params, {})
    for name, source in zip(ROUNDS, found, strict=True):
        values = source.identities + 0.1 * (np.arange(COUNT) % 3)  # faces differ within people
        table = AttributeTable(
            {"name": MEASURED}, MeasuredSource(FACES, name, source.faces.root), (YAW,),
            values[:, None].astype(np.float32), source.face_ids, None, ("",) * COUNT,
        )  # fmt: skip
        table.write(layout.attributes(name, MEASURED))
    return found


def people_of(sources: list[Source], rounds: tuple[int, ...] = (0, 1)) -> set[tuple[int, int]]:
    return {(at, int(own)) for at in rounds for own in usable_identities(sources[at])}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("parts", [2, 3, 5])
def test_groups_share_all_identities_out(sources: list[Source], rule: str, parts: int) -> None:
    groups = [people_of(only_part(sources, IdentityPart(at, parts, rule), "toy")[0])
              for at in range(parts)]  # fmt: skip
    assert sum(map(len, groups)) == len(people_of(sources)) == len(set.union(*groups))
    assert max(map(len, groups)) - min(map(len, groups)) <= 1 + (rule == "region")


def test_specialists_by_an_attribute_have_alike_values(sources: list[Source]) -> None:
    low, digests = only_part(sources, IdentityPart(0, 2, "yaw"), "toy")
    assert people_of(low) == {(at, own) for at in (0, 1) for own in range(PEOPLE // 2)}
    assert {*digests} == {layout.attributes(name, MEASURED).as_posix() for name in ROUNDS}


def test_specialists_of_a_round_see_that_round_alone(sources: list[Source]) -> None:
    second, _ = only_part(sources, IdentityPart(1, 2, "round"), "toy")
    assert people_of(second) == people_of(sources, (1,))
    with pytest.raises(InputError, match="3 parts by round, of 2 rounds; say as many"):
        only_part(sources, IdentityPart(1, 3, "round"), "toy")


def test_faces_of_nobody_are_in_no_group(sources: list[Source]) -> None:
    for at in range(2):
        for source in only_part(sources, IdentityPart(at, 2), "toy")[0]:
            assert (source.identities[source.usable] >= 0).all()


def test_what_was_not_measured_is_said(sources: list[Source]) -> None:
    layout.attributes("two", MEASURED).unlink()
    with pytest.raises(InputError, match=r"two\.parquet: no such file, and identities go by yaw"):
        only_part(sources, IdentityPart(0, 2, "yaw"), "toy")
    with pytest.raises(InputError, match="part 30 of 31 by balanced: none of 24 identities"):
        only_part(sources, IdentityPart(30, 31), "toy")


@given(st.integers(0, 99), st.integers(1, 6), st.integers(6, 40))
def test_regions_are_equally_large_and_apart(seed: int, parts: int, count: int) -> None:
    points = np.random.default_rng(seed).standard_normal((count, 3))
    groups = regions_of(points, parts)
    sizes = np.bincount(groups, minlength=parts)
    assert len(sizes) == parts and sizes.max() - sizes.min() <= 1 + parts // 3
    if parts == 2:
        centred = points - points.mean(axis=0)
        _, axes = np.linalg.eigh(centred.T @ centred)
        along = centred @ axes[:, -1]
        low, high = along[groups == groups[along.argmin()]], along[groups == groups[along.argmax()]]
        assert low.max() <= high.min()


@given(st.lists(st.one_of(st.floats(-9, 9), st.just(float("nan"))), max_size=30), st.integers(1, 5))
def test_like_values_are_quantiles(values: list[float], parts: int) -> None:
    column = np.array(values, float)
    groups = like_values(column, parts)
    assert ((groups == -1) == np.isnan(column)).all()
    for group in range(parts - 1):
        lower, upper = column[groups == group], column[groups == group + 1]
        assert not len(upper) or not len(lower) or lower.max() <= upper.min()
