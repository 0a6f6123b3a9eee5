from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from manifests.core import layout
from manifests.core.digests import folder_hashes
from manifests.core.errors import InputError
from manifests.settings.params import Params, PriorRound, load_params
from manifests.stores.latents import empty
from manifests.stores.reading import FaceStore, TeacherStore, store_root
from pipeline.arrays.frames import Frame, to_frame
from pipeline.arrays.numerics import in_fixed_batches
from pipeline.building.embeddings import centre_and_spread, embed_faces
from pipeline.building.workers import Workers
from pipeline.embed import EmbedJob, embed_round, main, teachers_in
from pipeline.render import render_round
from pipeline.sample import recipe_for, sample_prior, save
from pipeline.teachers import load_teacher
from pipeline.teachers.base import Teacher
from tests.networks import DECLARED, write_network
from tests.pipeline.conftest import LONG_SHARD, POOL_ROWS, LongRound, shards_done

NAME = "dlib-resnet"
TEACHER = layout.teacher("pool", NAME)


@pytest.fixture
def pool(rounds: Path) -> FaceStore:
    return FaceStore.open(layout.faces("pool"))


@pytest.fixture
def embedded(rounds: Path) -> TeacherStore:
    return TeacherStore.open(TEACHER)


@pytest.fixture
def first_crops(pool: FaceStore, dlib_resnet: Teacher) -> torch.Tensor:
    """The teacher's own crops of the first eight usable faces."""
    images = pool.images(0, POOL_ROWS)[pool.ok()][:8]
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    return to_frame(pictures, Frame(**pool.frame), dlib_resnet.frame)


class TestRows:
    def test_usable_faces_have_numbers_and_failed_ones_none(
        self, pool: FaceStore, embedded: TeacherStore
    ) -> None:
        rows, ok = embedded.embeddings(), pool.ok()
        assert rows.shape == (POOL_ROWS, 2, 128)
        assert np.isfinite(rows[ok]).all()
        assert np.isnan(rows[~ok]).all()

    def test_norms_are_those_of_the_embeddings(self, embedded: TeacherStore) -> None:
        wanted = np.linalg.norm(embedded.embeddings().astype(np.float32), axis=2)
        np.testing.assert_allclose(embedded.group["norms"][:], wanted, rtol=1e-3)

    def test_plain_view_is_the_embedding_of_the_face(
        self, pool: FaceStore, embedded: TeacherStore, dlib_resnet: Teacher, first_crops
    ) -> None:
        wanted = in_fixed_batches(dlib_resnet.embed, first_crops).numpy().astype(np.float16)
        assert np.array_equal(embedded.embeddings()[pool.ok()][:8, 0], wanted)

    def test_flip_view_is_the_embedding_of_the_mirrored_face(
        self, pool: FaceStore, embedded: TeacherStore, dlib_resnet: Teacher, first_crops
    ) -> None:
        mirrored = torch.from_numpy(first_crops.numpy()[:, :, :, ::-1].copy())
        wanted = in_fixed_batches(dlib_resnet.embed, mirrored).numpy().astype(np.float16)
        assert np.array_equal(embedded.embeddings()[pool.ok()][:8, 1], wanted)

    def test_views_are_not_copies_of_each_other(
        self, pool: FaceStore, embedded: TeacherStore
    ) -> None:
        views = embedded.embeddings()[pool.ok()]
        assert (np.abs(views[:, 0] - views[:, 1]).max(axis=1) > 0.01).all()

    def test_centre_and_spread_are_those_of_the_stored_rows(
        self, pool: FaceStore, embedded: TeacherStore
    ) -> None:
        rows = embedded.embeddings()[pool.ok()].astype(np.float64).reshape(-1, 128)
        np.testing.assert_allclose(embedded.centre(), rows.mean(axis=0), atol=1e-6)
        assert embedded.spread() == pytest.approx(float((rows - rows.mean(axis=0)).std()))


def test_centre_and_spread_pass_over_failed_rows() -> None:
    rows = np.array([[[1.0, 0.0]], [[np.nan, np.nan]], [[3.0, 0.0]]])
    mean, spread = centre_and_spread(lambda: [rows[:1], rows[1:]], 2)
    assert mean.tolist() == [2.0, 0.0]
    assert spread == pytest.approx(np.sqrt(0.5))


@pytest.mark.parametrize(
    ("scale", "fault"),
    [(1.0, None), (1e-3, None), (1e5, "is not finite"), (1e-7, "is too small to keep its digits")],
)
def test_embeddings_at_either_end_of_float16_are_refused(
    monkeypatch: pytest.MonkeyPatch, scale: float, fault: str | None
) -> None:
    rows = np.random.default_rng(0).standard_normal((4, 2, 8)).astype(np.float32)
    rows[2] *= scale
    monkeypatch.setattr(EmbedJob, "embed", lambda job, asked: rows[asked])
    monkeypatch.setattr("pipeline.embed._tools", lambda job: (None, None, np.ones(4, bool)))
    job = EmbedJob(Path("faces.zarr"), "", Path(), "toy", "cpu", "", "")
    if fault is None:
        assert np.isfinite(job(np.arange(4))["embeddings"]).all()
    else:
        with pytest.raises(InputError, match=rf"faces\.zarr: row 2 has .* toy that {fault} in"):
            job(np.arange(4))


class TestTwoShards:
    def test_resumed_build_does_only_what_is_missing(self, long_round: LongRound) -> None:
        assert long_round.resumed["embed"] == [1]

    def test_an_interruption_changes_no_byte(self, long_round: LongRound) -> None:
        roots = (long_round.interrupted, long_round.at_once)
        one, two = (folder_hashes(root / TEACHER) for root in roots)
        assert one == two

    def test_rows_of_the_second_shard_are_in_their_place(
        self, long_round: LongRound, dlib_resnet: Teacher
    ) -> None:
        faces = FaceStore.open(long_round.at_once / layout.faces("pool"))
        rows = LONG_SHARD + np.flatnonzero(faces.ok()[LONG_SHARD:])
        images = faces.images(0, len(faces))[rows]
        found = TeacherStore.open(long_round.at_once / TEACHER).embeddings()[rows]
        wanted = embed_faces(dlib_resnet, images, Frame(**faces.frame)).astype(np.float16)
        assert len(rows) > 0
        assert np.array_equal(found, wanted)


class TestLinks:
    def test_store_names_faces_and_manifest(self, pool: FaceStore, embedded: TeacherStore) -> None:
        expect = {"faces": pool.root, "manifest": pool.passport.manifest_digest}
        assert TeacherStore.open(TEACHER, expect=expect).root == embedded.root
        assert embedded.root == store_root(TEACHER)

    def test_passport_names_teacher_generator_and_licences(
        self, pool: FaceStore, embedded: TeacherStore, dlib_resnet: Teacher
    ) -> None:
        assert embedded.passport.fingerprint.identity == dlib_resnet.identity()
        assert embedded.passport.lineage["faces"] == pool.passport.fingerprint.identity
        assert set(embedded.passport.licences) == {"dcgan-digiface", load_params().aligner, NAME}

    def test_faces_of_another_manifest_are_refused(self, rounds: Path, params: Params) -> None:
        save(sample_prior("pool", PriorRound(POOL_ROWS, seed=99), params), force=True)
        with pytest.raises(InputError, match=r"faces\.zarr: made from manifest"):
            embed_round("pool", NAME, params, workers=Workers(1))

    def test_finished_build_is_linked_without_work(self, embedded: TeacherStore) -> None:
        shutil.rmtree(TEACHER)
        with shards_done(EmbedJob) as done:
            embed_round("pool", NAME, load_params(), workers=Workers(1))
        assert TeacherStore.open(TEACHER).root == embedded.root
        assert done == []


class TestWithoutFaces:
    @pytest.fixture
    def none(self, workspace: Path, params: Params) -> Params:
        save(empty(recipe_for("mined-9", params), origin="mined"))
        render_round("mined-9", params, workers=Workers(1))
        return params

    def test_an_empty_round_embeds(self, none: Params) -> None:
        embed_round("mined-9", NAME, none, workers=Workers(2))
        store = TeacherStore.open(layout.teacher("mined-9", NAME))
        assert store.embeddings().shape == (0, 2, 128)
        assert (store.centre().tolist(), store.spread()) == ([0.0] * 128, 1.0)

    def test_an_imported_round_needs_no_manifest(self, none: Params) -> None:
        layout.manifest("mined-9").unlink()
        embed_round("mined-9", NAME, none, workers=Workers(1))
        assert len(TeacherStore.open(layout.teacher("mined-9", NAME))) == 0

    def test_a_round_where_no_face_was_found_embeds(self, workspace: Path, params: Params) -> None:
        blind = replace(params, render=replace(params.render, detect_threshold=0.999, retries=()))
        save(sample_prior("probe", PriorRound(5, 1), blind))
        render_round("probe", blind, workers=Workers(1))
        embed_round("probe", NAME, blind, workers=Workers(1))
        store = TeacherStore.open(layout.teacher("probe", NAME))
        assert np.isnan(store.embeddings()).all()
        assert (store.passport.num_ok, store.passport.failures) == (0, {"face_not_ok": 5})


def test_faces_that_were_never_rendered_are_named(workspace: Path, params: Params) -> None:
    with pytest.raises(InputError, match=r"data/pool/faces\.zarr: this store does not exist"):
        embed_round("pool", NAME, params, workers=Workers(1))


def test_a_round_is_embedded_by_a_network_in_an_onnx_file(
    rounds: Path, pool: FaceStore, tmp_path: Path
) -> None:
    path = write_network(tmp_path / "small.onnx", declared=DECLARED | {"licence": "MIT"})
    params = load_params()
    embed_round("pool", f"onnx:{path}", params, workers=Workers())
    store = TeacherStore.open(layout.teacher("pool", "small"), expect={"faces": pool.root})
    assert store.passport.licences["small"] == "MIT"
    teacher = load_teacher(f"onnx:{path}", layout.WEIGHTS)
    wanted = embed_faces(teacher, pool.images(0, 64)[pool.ok()[:64]], Frame(**pool.frame))
    np.testing.assert_array_equal(
        store.embeddings()[:64][pool.ok()[:64]], wanted.astype(np.float16)
    )


def test_a_folder_of_networks_is_embedded_by_each_beside_the_round(
    rounds: Path, pool: FaceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "all").mkdir()
    for name in ("first", "second"):
        write_network(tmp_path / "all" / f"{name}.onnx", declared=DECLARED | {"name": name})
    (tmp_path / "all" / "notes.txt").touch()
    command = ["embed", "pool", "--teacher", f"onnx:{tmp_path / 'all'}", "--into", "apart"]
    monkeypatch.setattr("sys.argv", command)
    main()
    for name in ("first", "second"):
        store = TeacherStore.open(Path(f"apart/pool/{name}.zarr"), expect={"faces": pool.root})
        assert store.passport.licences[name]
        assert not layout.teacher("pool", name).exists()
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"none: no \.onnx file in this folder"):
        teachers_in(f"onnx:{tmp_path / 'none'}")
