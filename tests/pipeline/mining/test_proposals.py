"""From a pool with gaps to a round: how many of what, and from whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.core.errors import InputError
from manifests.settings.params import Mine
from pipeline.mining.mining_laws import AS_PUBLISHED, LAWS, PRIOR
from pipeline.mining.parents import hardest
from pipeline.mining.proposals import Pool, Proposals, own_normals, propose
from tests import references
from tests.pipeline.mining.toys import BOUNDARIES, SETTINGS, pool, region

REGIONS = [region(i, 0.3 + i / 20, hard=i in (2, 5)) for i in range(6)]


def proposed(settings: Mine = SETTINGS, source: Pool | None = None) -> Proposals:
    return propose(source or pool(), REGIONS, settings, BOUNDARIES)


@given(
    st.sampled_from([*LAWS, PRIOR]), st.integers(0, 120), st.floats(0, 1), st.integers(1, 9),
    st.floats(0.1, 1.0),
)  # fmt: skip
def test_every_round_has_its_count_its_prior_share_and_its_caps(
    law: str, count: int, prior_share: float, parent_cap: int, region_cap: float
) -> None:
    settings = replace(
        SETTINGS, law=law, count=count, prior_share=prior_share, parent_cap=parent_cap,
        region_cap=region_cap, least_spread=0.0,
    )  # fmt: skip
    source = pool()
    found = proposed(settings, source)
    wanted = 0 if law == PRIOR else round(count * (1 - prior_share))
    assert len(found.latents) == len(found.parent) == len(found.step) == count
    assert found.mined.sum() + found.num_rejected <= wanted
    assert np.array_equal(np.isnan(found.step), ~found.mined)
    parents = found.parent[found.mined]
    assert set(source.home[parents]) <= {2, 5}
    if len(parents):
        assert np.bincount(parents).max() <= parent_cap
        assert np.bincount(source.home[parents]).max() <= int(wanted * region_cap)
    assert np.isfinite(found.latents).all()


def test_what_caps_leave_free_is_filled_from_the_prior() -> None:
    settings = replace(SETTINGS, count=100, prior_share=0.2, region_cap=0.25)
    found = proposed(settings)
    assert (found.mined.sum(), (~found.mined).sum(), found.num_rejected) == (40, 60, 0)
    fresh = found.latents[~found.mined]
    assert fresh.mean() == pytest.approx(0.0, abs=0.1) and fresh.std() == pytest.approx(1, abs=0.05)


def test_near_duplicates_give_way_to_the_prior() -> None:
    settings = replace(SETTINGS, law="hard-near", near_step=0.001, least_spread=0.0)
    found = proposed(settings)
    assert (found.mined.sum(), found.num_rejected) == (0, 30)
    assert len(found.latents) == 40


@pytest.mark.parametrize("law", LAWS)
def test_children_lie_nearer_to_their_parents_than_to_others(law: str) -> None:
    source = pool()
    found = proposed(replace(SETTINGS, law=law, count=200), source)
    children, parents = found.latents[found.mined], source.latents[found.parent[found.mined]]
    own = [references.angle(a, b) for a, b in zip(children, parents, strict=True)]
    others = [references.angle(a, b) for a, b in zip(children, np.roll(parents, 7, 0), strict=True)]
    assert np.mean(own) < np.mean(others) - 0.3


def test_interpolates_between_hard_faces_of_one_region() -> None:
    source, settings = pool(), replace(SETTINGS, law="interpolate", count=200)
    found = proposed(settings, source)
    hard = {
        r: hardest(np.flatnonzero(source.home == r), source.hardness, settings.hard_share)
        for r in (2, 5)
    }
    for row in np.flatnonzero(found.mined):
        child, parent = found.latents[row], found.parent[row]
        mates = np.setdiff1d(hard[source.home[parent]], parent)
        one = source.latents[parent]
        excess = [
            references.angle(one, child)
            + references.angle(child, mate)
            - references.angle(one, mate)
            for mate in source.latents[mates]
        ]
        assert min(excess) < 1e-3


def test_a_lone_parent_has_no_child_without_direction() -> None:
    """Its mate is itself, its child a near-duplicate of it: the prior takes the place."""
    source = pool()
    source = replace(source, home=np.where(np.arange(400) == 7, 2, 0).astype(np.int32))
    found = proposed(replace(SETTINGS, law="interpolate"), source)
    assert found.mined.sum() == 0 and found.num_rejected == 8
    assert np.linalg.norm(found.latents, axis=1).min() > 1


def test_children_stay_in_the_shell() -> None:
    source = pool()
    far = replace(source, latents=source.latents * np.float32(3))
    found = proposed(replace(SETTINGS, law="boundary-walk", least_spread=0.0), far)
    norms = np.linalg.norm(found.latents[found.mined], axis=1)
    assert len(norms) and norms.max() < 1.1 * np.linalg.norm(source.latents, axis=1).max()


def test_a_round_that_collapses_is_refused() -> None:
    source = pool()
    alike = np.where(source.home == 2, source.gap + 1, source.gap)
    one = replace(source, hardness=alike, latents=source.latents.copy())
    one.latents[source.home == 2] = 0.3 * one.latents[source.home == 2] + 1.0
    settings = replace(SETTINGS, law="hard-near", hard_share=1.0)
    with pytest.raises(InputError, match="the round collapsed"):
        propose(one, [region(2, 0.9, hard=True), region(0, 0.2)], settings, BOUNDARIES)


@pytest.mark.parametrize("law", [*LAWS, PRIOR])
def test_same_seed_same_round_other_seed_other_round(law: str) -> None:
    settings = replace(SETTINGS, law=law)
    one, same, other = (proposed(s) for s in (settings, settings, replace(settings, seed=6)))
    assert one.latents.tobytes() == same.latents.tobytes()
    assert not np.isin(other.latents[:, 0], one.latents[:, 0]).any()


def test_mined_and_fresh_rows_are_mixed() -> None:
    found = proposed(replace(SETTINGS, count=400))
    assert 20 < np.flatnonzero(found.mined)[:50].max() < 120


class TestInW:
    @pytest.mark.parametrize("law", LAWS)
    def test_children_keep_to_the_pools_spread(self, law: str) -> None:
        source = pool(space="w")
        settings = replace(SETTINGS, law=law, prior_share=0.0)
        found = proposed(settings, source)
        assert found.mined.all()
        assert len(found.latents) == settings.count - found.num_rejected > 30
        away = (found.latents - source.latents[found.parent]) / source.scale
        assert 0.1 < np.linalg.norm(away, axis=1).mean() / np.sqrt(20) < 2.0

    @pytest.mark.parametrize(("law", "prior_share"), [("dynamic", 0.1), (PRIOR, 0.0)])
    def test_faces_of_the_prior_need_a_mapping(self, law: str, prior_share: float) -> None:
        settings = replace(SETTINGS, law=law, prior_share=prior_share)
        with pytest.raises(InputError, match=r"prior faces in w need a mapping; set mine\.prior_s"):
            proposed(settings, pool(space="w"))


@pytest.mark.parametrize("space", ["z", "w"])
@given(st.floats(0, 3), st.integers(0, 100), st.floats(0, 1), st.floats(0, 1))
def test_as_published_every_face_has_one_child_on_the_raw_scale(
    space: str, coefficient: float, count: int, prior_share: float, least_distance: float
) -> None:
    """Whatever region it lies in, and whatever counts, shares, caps and guards are set to."""
    settings = replace(
        SETTINGS, law=AS_PUBLISHED, coefficient=coefficient, count=count, prior_share=prior_share,
        parent_cap=1, region_cap=0.1, least_distance=least_distance, least_spread=9.0,
    )  # fmt: skip
    source = pool(space=space)
    found = proposed(settings, source)
    assert sorted(found.parent) == list(range(len(source.latents))) and found.mined.all()
    cosine = 1.0 - source.gap[found.parent]
    np.testing.assert_allclose(found.step, coefficient * (cosine + 1) / 2, 1e-6, atol=1e-30)
    parents = source.latents[found.parent]
    away = found.latents - parents
    if coefficient > 0.1:  # of float32, what a step leaves of a latent about 3
        noise = away / found.step[:, None]
        assert noise.std() == pytest.approx(1.0, abs=0.05)
        assert abs(noise.mean()) < 0.05 and abs((noise * parents).mean()) < 0.15


class TestNormals:
    def test_point_to_faces_unlike_the_parent(self) -> None:
        source, rows = pool(800), np.array([5, 3, 5, 99])
        normals = own_normals(source.latents, source.embeddings, rows, BOUNDARIES)
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0)
        assert np.array_equal(normals[0], normals[2])
        labels = references.median_labels(source.embeddings[rows], source.embeddings)
        side = source.latents @ normals.T
        for column in range(4):
            like, unlike = (side[labels[:, column] == sign, column].mean() for sign in (-1, 1))
            assert unlike > like + 0.5

    def test_equal_the_slow_twins(self) -> None:
        source, rows = pool(120, 6), np.array([4, 50])
        labels = references.median_labels(source.embeddings[rows], source.embeddings)
        weights, _ = references.ridge(source.latents, labels, BOUNDARIES.penalty)
        wanted = weights / np.linalg.norm(weights, axis=1, keepdims=True)
        found = own_normals(source.latents, source.embeddings, rows, BOUNDARIES)
        np.testing.assert_allclose(found, wanted, atol=1e-6)

    def test_blocks_do_not_matter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        source, rows = pool(120, 6), np.arange(50)
        at_once = own_normals(source.latents, source.embeddings, rows, BOUNDARIES)
        monkeypatch.setattr("pipeline.identities.labels.CELLS", 7)
        monkeypatch.setattr("pipeline.identities.labels.LEAST_BLOCK", 7)
        blocks = own_normals(source.latents, source.embeddings, rows, BOUNDARIES)
        np.testing.assert_allclose(blocks, at_once, atol=1e-6)
