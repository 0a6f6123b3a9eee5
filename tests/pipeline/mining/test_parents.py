"""Who becomes a parent: hard faces of hard regions, never above a cap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.mining.parents import apportion, draw_mates, draw_parents, hardest
from tests import references
from tests.pipeline.mining.toys import SETTINGS, region

REGIONS = [region(0, 0.9, hard=True), region(1, 0.1), region(2, 0.3, hard=True)]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class TestApportion:
    @given(
        st.lists(
            st.tuples(st.integers(0, 9), st.integers(0, 30)), min_size=1, max_size=6
        ),
        st.integers(0, 80),
    )  # fmt: skip
    def test_equals_its_slow_twin(self, parts: list[tuple[int, int]], total: int) -> None:
        weights, limits = (list(column) for column in zip(*parts, strict=True))
        found = apportion(np.array(weights, float), limits, total)
        assert found == references.apportion(weights, limits, total)

    @given(
        st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 50)), max_size=8), st.integers(0, 99)
    )
    def test_gives_all_that_there_is_room_for(
        self, parts: list[tuple[float, int]], total: int
    ) -> None:
        weights = np.array([weight for weight, _ in parts])
        found = apportion(weights, [limit for _, limit in parts], total)
        assert all(0 <= own <= limit for own, (_, limit) in zip(found, parts, strict=True))
        room = sum(limit for weight, limit in parts if weight > 0)
        assert sum(found) == min(total, room)

    def test_by_hand(self) -> None:
        assert apportion(np.array([5.0, 3.0, 2.0]), [9, 9, 9], 7) == [4, 2, 1]
        assert apportion(np.array([8.0, 1.0, 1.0]), [2, 9, 9], 7) == [2, 3, 2]
        assert apportion(np.array([1.0, 0.0]), [2, 9], 7) == [2, 0]


class TestHardest:
    @given(st.lists(st.integers(0, 5), max_size=20), st.floats(0.01, 1.0))
    def test_none_left_out_is_harder(self, levels: list[int], share: float) -> None:
        hardness = np.array(levels, float)
        rows = np.arange(len(levels))
        kept = hardest(rows, hardness, share)
        assert len(kept) == (max(1, round(len(levels) * share)) if levels else 0)
        left = np.setdiff1d(rows, kept)
        assert not len(left) or hardness[kept].min() >= hardness[left].max()
        assert list(kept) == sorted(kept)

    def test_ties_go_to_the_earlier_row(self) -> None:
        assert hardest(np.arange(2, 6), np.zeros(9), 0.5).tolist() == [2, 3]


class TestDraw:
    @given(
        st.integers(1, 60), st.integers(1, 5), st.floats(0.05, 1.0), st.floats(0.05, 1.0),
        st.integers(0, 99),
    )  # fmt: skip
    def test_caps_hold_and_only_the_hardest_share_are_parents(
        self, count: int, parent_cap: int, region_cap: float, hard_share: float, seed: int
    ) -> None:
        settings = replace(
            SETTINGS, parent_cap=parent_cap, region_cap=region_cap, hard_share=hard_share
        )
        home, hardness = np.arange(45) % 3, rng(seed).random(45)
        drawn = draw_parents(home, hardness, REGIONS, count, settings, rng(seed))
        assert set(home[drawn]) <= {0, 2}
        assert np.bincount(drawn, minlength=45).max() <= parent_cap
        assert np.bincount(home[drawn], minlength=3).max() <= int(count * region_cap)
        allowed = [hardest(np.flatnonzero(home == r), hardness, hard_share) for r in (0, 2)]
        assert set(drawn) <= set(np.concatenate(allowed))
        room = sum(min(len(own) * parent_cap, int(count * region_cap)) for own in allowed)
        assert len(drawn) == min(count, room)

    def test_a_region_counts_by_its_gap_and_its_faces(self) -> None:
        home = np.array([0] * 200 + [1] * 10 + [2] * 400)
        settings = replace(SETTINGS, hard_share=1.0, parent_cap=50)
        drawn = draw_parents(home, np.ones(610), REGIONS, 1000, settings, rng())
        # 200 faces at 0.9 against 400 at 0.3
        assert np.bincount(home[drawn]).tolist() == [600, 0, 400]

    def test_a_face_is_drawn_as_often_as_it_is_hard(self) -> None:
        hardness = np.array([0.1, 0.2, 0.3, 0.4])
        settings = replace(SETTINGS, hard_share=1.0, parent_cap=1)
        first = [
            draw_parents(np.zeros(4, int), hardness, REGIONS, 1, settings, rng(seed))[0]
            for seed in range(1500)
        ]
        shares = np.bincount(first, minlength=4) / 1500
        np.testing.assert_allclose(shares, hardness, atol=0.05)  # four standard errors

    def test_there_are_none_where_the_pool_has_no_hard_faces(self) -> None:
        home = np.ones(5, np.int32)
        assert len(draw_parents(home, np.ones(5), REGIONS, 9, SETTINGS, rng())) == 0
        assert len(draw_parents(home, np.ones(5), REGIONS[1:2], 9, SETTINGS, rng())) == 0

    def test_faces_without_any_hardness_can_be_parents(self) -> None:
        drawn = draw_parents(np.zeros(6, int), np.zeros(6), REGIONS, 6, SETTINGS, rng())
        assert len(drawn) == 6


class TestMates:
    @given(st.lists(st.integers(0, 8), min_size=1, max_size=20), st.integers(0, 99))
    def test_are_other_parents_of_the_same_region(self, rows: list[int], seed: int) -> None:
        parents, home = np.array(rows), np.arange(9) // 3
        mates = draw_mates(parents, home, rng(seed))
        assert np.array_equal(home[mates], home[parents])
        for parent, mate in zip(parents, mates, strict=True):
            others = set(parents[home[parents] == home[parent]]) - {parent}
            assert mate in others if others else mate == parent

    def test_every_other_parent_may_be_one(self) -> None:
        parents = np.repeat(np.arange(3), 200)
        mates = draw_mates(parents, np.zeros(3, int), rng())
        for parent in range(3):
            counts = np.bincount(mates[parents == parent], minlength=3)
            assert counts[parent] == 0 and np.delete(counts, parent).min() > 60


@pytest.mark.parametrize("seed", [1, 2])
def test_a_seed_says_which(seed: int) -> None:
    home, hardness = np.zeros(50, int), rng().random(50)
    one, same, other = (
        draw_parents(home, hardness, REGIONS, 20, SETTINGS, rng(s)) for s in (seed, seed, seed + 1)
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)
