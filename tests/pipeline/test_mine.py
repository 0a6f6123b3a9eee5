from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests import layout
from manifests.errors import InputError
from manifests.gaps import GapTable
from manifests.latents import LatentManifest
from manifests.params import Mine, Params, load_params
from manifests.stores import FaceStore, TeacherStore
from pipeline.mine import (
    Region,
    assign,
    draw_parents,
    dynamic,
    find_regions,
    hardness,
    mine_round,
)
from tests import references

SETTINGS = Mine(regions=6, hard_share=0.34, shrinkage=4.0, coefficient=0.8, count=40, seed=5)
GAPS = st.lists(st.tuples(st.floats(0, 2), st.integers(0, 5)), min_size=1, max_size=40)


@pytest.fixture(scope="module")
def embeddings() -> np.ndarray:
    rows = np.random.default_rng(0).standard_normal((600, 16)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def faiss_threads() -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    yield
    faiss.omp_set_num_threads(before)


class TestRegions:
    def test_number_of_threads_changes_no_bit(
        self, embeddings: np.ndarray, faiss_threads: None
    ) -> None:
        found = []
        for threads in (1, 2):
            faiss.omp_set_num_threads(threads)
            found.append(find_regions(embeddings, 12, seed=3))
        assert np.array_equal(*found)

    def test_centroids_are_units(self, embeddings: np.ndarray) -> None:
        norms = np.linalg.norm(find_regions(embeddings, 12, seed=3), axis=1)
        np.testing.assert_allclose(norms, 1.0, atol=1e-5)

    def test_there_are_never_more_than_faces(self, embeddings: np.ndarray) -> None:
        assert len(find_regions(embeddings[:5], 12, seed=3)) == 5

    def test_each_face_goes_to_the_nearest(self, embeddings: np.ndarray) -> None:
        centroids = find_regions(embeddings, 12, seed=3)
        assert np.array_equal(assign(embeddings, centroids), (embeddings @ centroids.T).argmax(1))

    def test_no_faces_go_nowhere(self, embeddings: np.ndarray) -> None:
        assert assign(embeddings[:0], embeddings[:3]).shape == (0,)


class TestHardness:
    @given(GAPS, st.floats(0.5, 20.0), st.floats(0.0, 1.0))
    def test_equals_its_slow_twin(
        self, rows: list[tuple[float, int]], shrinkage: float, share: float
    ) -> None:
        gap, region = (np.array(column) for column in zip(*rows, strict=True))
        settings = replace(SETTINGS, shrinkage=shrinkage, hard_share=share)
        found = hardness(gap.astype(np.float64), region, 6, settings)
        means, shrunken, hard = references.hardness(
            gap, region, 6, shrinkage=shrinkage, hard_share=share
        )
        np.testing.assert_allclose([r.mean_gap for r in found], means, atol=1e-9)
        np.testing.assert_allclose([r.shrunken_gap for r in found], shrunken, atol=1e-9)
        assert sum(r.hard for r in found) == len(hard)
        least = min(shrunken[number] for number in hard)
        assert all(r.shrunken_gap >= least - 1e-9 for r in found if r.hard)

    def test_two_unlucky_faces_do_not_make_a_region_hard(self) -> None:
        gap = np.array([1.0] * 2 + [0.6] * 100 + [0.2] * 100)
        region = np.array([0] * 2 + [1] * 100 + [2] * 100)
        found = hardness(gap, region, 3, replace(SETTINGS, shrinkage=16.0))
        assert [r.hard for r in found] == [False, True, False]

    def test_a_region_without_faces_has_the_overall_gap(self) -> None:
        for shrinkage in (0.0, 4.0):
            settings = replace(SETTINGS, shrinkage=shrinkage)
            found = hardness(np.array([0.2, 0.4]), np.array([0, 1]), 3, settings)
            assert found[2].shrunken_gap == pytest.approx(0.3)


class TestParents:
    REGIONS = (
        Region(0, 9, 0.9, 0.9, True),
        Region(1, 9, 0.1, 0.1, False),
        Region(2, 9, 0.3, 0.3, True),
    )

    def test_come_from_hard_regions_only(self) -> None:
        home = np.arange(90) % 3
        parents = draw_parents(home, list(self.REGIONS), SETTINGS)
        assert len(parents) == SETTINGS.count
        assert set(home[parents]) == {0, 2}

    def test_share_of_a_region_grows_with_its_gap_and_not_with_its_size(self) -> None:
        home = np.array([0] * 10 + [1] * 10 + [2] * 500)
        parents = draw_parents(home, list(self.REGIONS), replace(SETTINGS, count=4000))
        assert (home[parents] == 0).mean() == pytest.approx(0.75, abs=0.03)

    def test_there_are_none_where_the_pool_has_no_hard_faces(self) -> None:
        assert len(draw_parents(np.ones(5, np.int32), list(self.REGIONS), SETTINGS)) == 0


class TestDynamic:
    def test_equals_its_slow_twin(self) -> None:
        rng = np.random.default_rng(0)
        latents, step = rng.standard_normal((30, 8)), rng.random(30)
        wanted = references.dynamic(latents, step, seed=7)
        np.testing.assert_allclose(dynamic(latents, step, seed=7), wanted, atol=1e-6)

    @pytest.mark.parametrize("step", [0.1, 1.0, 3.0])
    def test_children_of_gaussians_are_gaussian(self, step: float) -> None:
        latents = np.random.default_rng(0).standard_normal((4000, 50))
        children = dynamic(latents, np.full(4000, step), seed=1)
        assert children.std() == pytest.approx(1.0, abs=0.01)
        assert (children * latents).mean() == pytest.approx(1 / np.sqrt(1 + step**2), abs=0.01)

    def test_no_step_is_the_parent(self) -> None:
        latents = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
        assert np.array_equal(dynamic(latents, np.zeros(5), seed=1), latents)


@pytest.fixture
def gaps(rounds: Path) -> dict[str, GapTable]:
    """Gaps of a run `start`, drawn at random, for the rounds pool and probe."""
    tables = {}
    for name in ("pool", "probe"):
        teacher = TeacherStore.open(layout.teacher(name, "dlib-resnet"))
        ok = FaceStore.open(layout.faces(name)).ok()
        ids = LatentManifest.read(layout.manifest(name)).face_id[ok]
        rng = np.random.default_rng(len(ids))
        columns = [rng.random(len(ids)).astype(np.float32) for _ in range(3)]
        home = np.full(len(ids), -1, np.int32)
        tables[name] = GapTable(ids, *columns, home, "ab" * 32, teacher.root)
        tables[name].write(layout.gap_table("start", name))
    return tables


@pytest.fixture
def small(gaps: dict[str, GapTable]) -> Params:
    return replace(load_params(), mine=SETTINGS)


@pytest.fixture
def mined(small: Params) -> LatentManifest:
    mine_round("mined-1", "start", small)
    return LatentManifest.read(layout.manifest("mined-1"))


class TestARound:
    def test_parents_are_usable_faces_of_the_pool(
        self, mined: LatentManifest, gaps: dict[str, GapTable]
    ) -> None:
        assert len(mined) == SETTINGS.count
        assert set(mined.table["parent_id"].to_pylist()) <= set(gaps["pool"].face_id)

    def test_regions_of_the_children_are_hard(self, small: Params) -> None:
        regions = mine_round("mined-1", "start", small)
        mined = LatentManifest.read(layout.manifest("mined-1"))
        hard = {region.region for region in regions if region.hard}
        assert set(mined.table["region_id"].to_pylist()) <= hard
        assert len(hard) == 2

    def test_step_is_that_of_synthdistill(
        self, mined: LatentManifest, gaps: dict[str, GapTable]
    ) -> None:
        table = gaps["pool"]
        rows = np.searchsorted(table.face_id, mined.table["parent_id"].to_numpy())
        gap = (table.gap.astype(np.float64) + table.flip_gap)[rows] / 2
        cosine = 1 - gap
        np.testing.assert_allclose(mined.column("step"), 0.8 * (cosine + 1) / 2, rtol=1e-6)
        np.testing.assert_allclose(mined.column("score"), gap, rtol=1e-6)

    def test_children_lie_where_their_step_puts_them(self, mined: LatentManifest) -> None:
        pool = LatentManifest.read(layout.manifest("pool"))
        rows = np.searchsorted(pool.face_id, mined.table["parent_id"].to_numpy())
        parents, step = pool.latents[rows], mined.column("step")
        cosine = (mined.latents * parents).sum(1) / np.linalg.norm(mined.latents, axis=1)
        cosine /= np.linalg.norm(parents, axis=1)
        assert (cosine - 1 / np.sqrt(1 + step**2)).mean() == pytest.approx(0, abs=0.05)

    def test_probe_gaps_are_written_with_their_regions(
        self, mined: LatentManifest, gaps: dict[str, GapTable]
    ) -> None:
        found = GapTable.read(layout.regions("mined-1"))
        assert np.array_equal(found.gap, gaps["probe"].gap)
        assert set(found.region) <= set(range(SETTINGS.regions))

    def test_same_gaps_give_the_same_round(self, mined: LatentManifest, small: Params) -> None:
        mine_round("mined-1", "start", small)
        assert LatentManifest.read(layout.manifest("mined-1")).digest == mined.digest

    def test_every_round_draws_anew(self, mined: LatentManifest, small: Params) -> None:
        mine_round("mined-2", "start", small)
        other = LatentManifest.read(layout.manifest("mined-2"))
        assert not set(other.face_id) & set(mined.face_id)
        assert not np.isin(other.latents[:, 0], mined.latents[:, 0]).any()

    def test_gaps_of_other_faces_are_refused(
        self, small: Params, gaps: dict[str, GapTable]
    ) -> None:
        table = gaps["probe"]
        replace(table, face_id=table.face_id + 1).write(layout.gap_table("start", "probe"))
        with pytest.raises(InputError, match=r"round probe: the gap table of start holds other"):
            mine_round("mined-1", "start", small)

    def test_gaps_to_another_teacher_store_are_refused(
        self, small: Params, gaps: dict[str, GapTable]
    ) -> None:
        table = replace(gaps["pool"], teacher_root="12" * 32)
        table.write(layout.gap_table("start", "pool"))
        with pytest.raises(InputError, match=r"pool\.parquet: measured against .*121212121212"):
            mine_round("mined-1", "start", small)
