"""Rounds mined from real faces: what is written, and from whom it descends."""

from __future__ import annotations

from dataclasses import replace

import faiss
import numpy as np
import pytest

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.records.gaps import GapTable
from manifests.settings.params import Params
from manifests.stores.latents import LatentManifest
from manifests.stores.rounds import open_round
from pipeline.building.workers import Workers
from pipeline.embed import embed_round
from pipeline.mine import load_round, mine_round
from pipeline.mining.mining_laws import AS_PUBLISHED, LAWS, PRIOR
from pipeline.render import render_round
from tests.pipeline.mining.toys import SMALL, whole_pool


@pytest.fixture
def mined(mining: Params, gaps: dict[str, GapTable]) -> LatentManifest:
    mine_round("mined-1", "start", mining)
    return LatentManifest.read(layout.manifest("mined-1"))


def written(name: str) -> list[bytes]:
    paths = (layout.manifest(name), layout.manifest_summary(name), layout.regions(name))
    return [path.read_bytes() for path in paths]


class TestARound:
    def test_parents_are_usable_faces_of_hard_regions(
        self, mining: Params, gaps: dict[str, GapTable]
    ) -> None:
        found = mine_round("mined-1", "start", mining)
        round_ = LatentManifest.read(layout.manifest("mined-1"))
        hard = {region.region for region in found.regions if region.hard}
        assert 0 < len(hard) < 3 and len(round_) == SMALL.count
        assert set(round_.table["parent_id"].drop_null().to_pylist()) <= set(gaps["pool"].face_id)
        assert set(round_.table["region_id"].drop_null().to_pylist()) <= hard

    def test_a_row_has_a_whole_lineage_or_a_law_alone(self, mined: LatentManifest) -> None:
        columns = ("parent_id", "region_id", "step", "score")
        absent = {tuple(mined.table[name].is_null().to_pylist()) for name in columns}
        assert len(absent) == 1
        of_prior = np.array(absent.pop())
        assert 10 <= of_prior.sum() < SMALL.count  # a quarter of 40, and what the caps left
        laws = np.array(mined.table["law"].to_pylist())
        assert np.array_equal(laws == PRIOR, of_prior)
        assert set(laws[~of_prior]) == {"dynamic"}
        assert set(mined.table["origin"].to_pylist()) == {"mined"}

    def test_step_and_score_follow_from_the_parents_gap(
        self, mined: LatentManifest, gaps: dict[str, GapTable]
    ) -> None:
        table = mined.table.filter(mined.table["parent_id"].is_valid())
        rows = np.searchsorted(gaps["pool"].face_id, table["parent_id"].to_numpy())
        gap = gaps["pool"].gap[rows]
        cosine = 1 - gap
        np.testing.assert_allclose(table["step"].to_numpy(), (cosine + 1) / 2, rtol=1e-5)
        np.testing.assert_allclose(table["score"].to_numpy(), gap, rtol=1e-5)

    def test_children_lie_where_their_step_puts_them(self, mined: LatentManifest) -> None:
        pool = LatentManifest.read(layout.manifest("pool"))
        own = np.asarray(mined.table["parent_id"].is_valid())
        ids = mined.table["parent_id"].drop_null().to_numpy()
        parents, step = pool.latents[np.searchsorted(pool.face_id, ids)], mined.column("step")[own]
        children = mined.latents[own]
        cosine = (children * parents).sum(1) / np.linalg.norm(children, axis=1)
        cosine /= np.linalg.norm(parents, axis=1)
        assert (cosine - 1 / np.sqrt(1 + step**2)).mean() == pytest.approx(0, abs=0.05)

    def test_probe_gaps_are_written_with_their_regions(
        self, mining: Params, gaps: dict[str, GapTable]
    ) -> None:
        mined = mine_round("mined-1", "start", mining)
        found = GapTable.read(layout.regions("mined-1"))
        assert np.array_equal(found.gap, gaps["probe"].gap)
        sizes = [region.num_faces for region in mined.regions]
        assert np.bincount(found.region, minlength=3).tolist() == sizes

    def test_as_published_every_usable_face_is_moved_once(
        self, mining: Params, gaps: dict[str, GapTable]
    ) -> None:
        law = replace(mining.mine, law=AS_PUBLISHED, false_discovery_rate=0.0, least_gain=1.0)
        mine_round("mined-1", "start", replace(mining, mine=law))
        table = LatentManifest.read(layout.manifest("mined-1")).table
        assert sorted(table["parent_id"].to_pylist()) == gaps["pool"].face_id.tolist()
        assert set(table["law"].to_pylist()) == {AS_PUBLISHED}
        facts = read_json(layout.manifest_summary("mined-1"))["mining"]
        assert (facts["stopped"], facts["prior"]) == (None, 0)

    @pytest.mark.parametrize("law", [*LAWS, PRIOR])
    def test_every_law_makes_a_round(
        self, mining: Params, gaps: dict[str, GapTable], law: str
    ) -> None:
        mine_round("mined-1", "start", replace(mining, mine=replace(SMALL, law=law)))
        found = LatentManifest.read(layout.manifest("mined-1"))
        assert len(found) == SMALL.count
        assert set(found.table["law"].to_pylist()) == {law, PRIOR}

    @pytest.mark.parametrize("hardness", ["gap", "margin", "neighbours"])
    def test_every_hardness_makes_a_round(
        self, mining: Params, gaps: dict[str, GapTable], hardness: str
    ) -> None:
        mine_round("mined-1", "start", replace(mining, mine=replace(SMALL, hardness=hardness)))
        assert len(LatentManifest.read(layout.manifest("mined-1"))) == SMALL.count

    @pytest.mark.parametrize("block", [7, 64])
    def test_a_store_is_read_block_by_block(
        self, mining: Params, gaps: dict[str, GapTable], block: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files, rows = whole_pool(mining)
        centre = files.teacher.centre()
        whole = files.teacher.embeddings()[rows, 0].astype(np.float32) - centre
        monkeypatch.setattr("pipeline.mine.BLOCK_ROWS", block)
        found = load_round("pool", "start", mining, centre).embeddings
        np.testing.assert_allclose(found, whole / np.linalg.norm(whole, axis=1)[:, None], atol=1e-6)


class TestSameness:
    def test_same_inputs_give_the_same_bytes(self, mined: LatentManifest, mining: Params) -> None:
        before = written("mined-1")
        mine_round("mined-1", "start", mining)
        assert written("mined-1") == before

    @pytest.mark.parametrize("law", LAWS)
    def test_number_of_threads_changes_no_byte(
        self, mining: Params, gaps: dict[str, GapTable], faiss_threads: None, law: str
    ) -> None:
        made = []
        for threads in (1, 2):
            faiss.omp_set_num_threads(threads)
            mine_round("mined-1", "start", replace(mining, mine=replace(SMALL, law=law)))
            made.append(written("mined-1"))
        assert made[0] == made[1]

    def test_every_round_draws_anew(self, mined: LatentManifest, mining: Params) -> None:
        mine_round("mined-2", "start", mining)
        other = LatentManifest.read(layout.manifest("mined-2"))
        assert not set(other.face_id) & set(mined.face_id)
        assert not np.isin(other.latents[:, 0], mined.latents[:, 0]).any()

    def test_rounds_made_differently_share_no_face(
        self, mined: LatentManifest, mining: Params, gaps: dict[str, GapTable]
    ) -> None:
        changes = [
            replace(mining, mine=replace(SMALL, seed=6)),
            replace(mining, mine=replace(SMALL, coefficient=0.9)),
            replace(mining, boundaries=replace(mining.boundaries, penalty=0.5)),
        ]
        ids = [set(mined.face_id)]
        for changed in changes:
            with pytest.raises(InputError, match=r"mined-1\.parquet: holds other faces than"):
                mine_round("mined-1", "start", changed)
            mine_round("mined-1", "start", changed, force=True)
            ids.append(set(LatentManifest.read(layout.manifest("mined-1")).face_id))
        assert len(set.union(*ids)) == 4 * SMALL.count


class TestStopping:
    @pytest.fixture
    def equal_gaps(self, mining: Params, gaps: dict[str, GapTable]) -> None:
        for name, table in gaps.items():
            same = np.full(len(table.gap), 0.3, np.float32)
            replace(table, gap=same, flip_gap=same).write(layout.gap_table("start", name))

    def test_equal_gaps_make_an_empty_round_with_the_reason(
        self, mining: Params, equal_gaps: None
    ) -> None:
        found = mine_round("mined-1", "start", mining)
        assert found.decision.stop and len(LatentManifest.read(layout.manifest("mined-1"))) == 0
        facts = read_json(layout.manifest_summary("mined-1"))
        assert facts["rows"] == 0
        assert facts["mining"]["stopped"] == "no region is significantly worse than the rest"
        assert (GapTable.read(layout.regions("mined-1")).region >= 0).all()

    def test_an_empty_round_goes_through_rendering_and_embedding(
        self, mining: Params, equal_gaps: None
    ) -> None:
        mine_round("mined-1", "start", mining)
        render_round("mined-1", mining, workers=Workers(1))
        embed_round("mined-1", mining.teacher, mining, workers=Workers(1))
        assert len(open_round("mined-1", mining.teacher).faces) == 0

    def test_too_little_to_gain_makes_an_empty_round(
        self, mining: Params, gaps: dict[str, GapTable]
    ) -> None:
        found = mine_round("mined-1", "start", replace(mining, mine=replace(SMALL, least_gain=1.0)))
        assert 0 < found.decision.expected_gain < 1
        reason = read_json(layout.manifest_summary("mined-1"))["mining"]["stopped"]
        assert reason.endswith("is below mine.least_gain 1")
        assert len(LatentManifest.read(layout.manifest("mined-1"))) == 0

    def test_rounds_that_stopped_are_of_no_faces_and_of_no_other_round(
        self, mining: Params, equal_gaps: None
    ) -> None:
        digests = set()
        for name in ("mined-1", "mined-2"):
            mine_round(name, "start", mining)
            digests.add(LatentManifest.read(layout.manifest(name)).digest)
        assert len(digests) == 2
