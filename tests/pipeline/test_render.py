from __future__ import annotations

import contextlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manifests.building.ledger import NAME as LEDGER
from manifests.building.ledger import read_ledger
from manifests.core import layout
from manifests.core.digests import folder_hashes
from manifests.core.errors import InputError
from manifests.settings.params import Params, load_params
from manifests.stores.latents import LatentManifest, empty
from manifests.stores.reading import NO_FACE, OK, FaceStore, store_root
from pipeline.aligners.base import Aligner
from pipeline.arrays.frames import WIDE
from pipeline.building import shards
from pipeline.building.faces import render_faces
from pipeline.building.shards import LOADED
from pipeline.building.workers import Workers
from pipeline.generators.base import Generator
from pipeline.render import RenderJob, render_round
from pipeline.sample import recipe_for, save
from tests.flow import VERBS, run_stage
from tests.pipeline.conftest import POOL_ROWS, Interrupted, LongRound, shards_done

FACES = layout.faces("pool")


@pytest.fixture
def pool(rounds: Path) -> FaceStore:
    return FaceStore.open(FACES)


class TestRows:
    def test_every_row_of_the_manifest_is_kept(self, pool: FaceStore) -> None:
        manifest = LatentManifest.read(layout.manifest("pool"))
        expect = {"manifest": manifest.digest}
        assert len(FaceStore.open(FACES, expect=expect)) == len(manifest) == POOL_ROWS
        assert pool.images(0, POOL_ROWS).shape == (POOL_ROWS, 96, 96, 3)

    def test_faces_not_found_are_black_and_say_why(self, sharded: Params) -> None:
        faces = FaceStore.open(FACES)
        failed = ~faces.ok()
        assert 0 < failed.sum() < len(faces)
        assert not faces.images(0, len(faces))[failed].any()
        assert np.isnan(faces.column("landmarks")[failed]).all()
        assert np.isnan(faces.column("quality")[failed]).all()
        assert set(faces.column("reason")[failed]) == {NO_FACE}

    def test_found_faces_have_pixels_landmarks_and_a_score(self, pool: FaceStore) -> None:
        ok = pool.ok()
        assert ok.mean() > 0.9
        assert (pool.images(0, POOL_ROWS)[ok].reshape(ok.sum(), -1).std(axis=1) > 5).all()
        landmarks = pool.column("landmarks")[ok]
        assert ((landmarks > 0) & (landmarks < 96)).all()
        assert (pool.column("quality")[ok] >= load_params().render.detect_threshold).all()
        assert set(pool.column("reason")[ok]) == {OK}

    @pytest.mark.parametrize("row", [0, 63, 64, 71])
    def test_a_row_is_the_face_of_its_own_latent(
        self, pool: FaceStore, dcgan: Generator, aligner: Aligner, row: int
    ) -> None:
        latents = np.array(LatentManifest.read(layout.manifest("pool")).latents[[row]])
        attempts = load_params().render.detections
        (alone,) = render_faces(dcgan, aligner, attempts, latents, WIDE.at(96))
        assert np.array_equal(alone.images, pool.images(row, row + 1))

    def test_passport_and_ledger_count_the_failures(self, sharded: Params) -> None:
        faces = FaceStore.open(FACES)
        num_failed, lines = int((~faces.ok()).sum()), read_ledger(faces.path / LEDGER).shards
        assert faces.passport.num_ok == sum(line.num_ok for line in lines)
        assert faces.passport.failures == {"no_face": num_failed} and num_failed > 0
        assert sum(line.failures["no_face"] for line in lines) == num_failed
        assert faces.passport.num_rows == sum(line.num_rows for line in lines) == len(faces)

    def test_passport_names_generator_and_aligner_and_their_licences(
        self, pool: FaceStore, dcgan: Generator, aligner: Aligner
    ) -> None:
        identity = pool.passport.fingerprint.identity
        assert identity.items() >= dcgan.identity().items()
        assert identity["alignment"].items() >= aligner.identity().items()
        assert pool.passport.licences == {
            dcgan.name: dcgan.licence, aligner.name: aligner.licence
        }  # fmt: skip
        assert pool.group.attrs["landmark_scheme"] == aligner.scheme.name


class TestTwoShards:
    def test_resumed_build_does_only_what_is_missing(self, long_round: LongRound) -> None:
        assert long_round.resumed["render"] == [1]

    def test_an_interruption_changes_no_byte(self, long_round: LongRound) -> None:
        one, two = (folder_hashes(r / FACES) for r in (long_round.interrupted, long_round.at_once))
        assert one == two

    def test_root_does_not_tell_of_interruptions(self, long_round: LongRound) -> None:
        stores = [FaceStore.open(r / FACES) for r in (long_round.interrupted, long_round.at_once)]
        assert stores[0].root == stores[1].root
        assert stores[0].root == store_root(stores[0].path)


@pytest.fixture(scope="module")
def unsealed_once(rounds_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Round pool with every shard done, then a crash before sealing."""
    root = tmp_path_factory.mktemp("unsealed") / "root"
    shutil.copytree(rounds_once, root, symlinks=True)
    shutil.rmtree(root / ".work")
    with contextlib.chdir(root), pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "seal", _crash)
        with pytest.raises(Interrupted):
            render_round("pool", load_params(), workers=Workers(1))
    return root


def _crash(*_: object) -> None:
    raise Interrupted


@pytest.fixture
def work(unsealed_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The scratch folder of the crashed build, in a copy that is the current folder."""
    root = tmp_path / "root"
    shutil.copytree(unsealed_once, root, symlinks=True)
    monkeypatch.chdir(root)
    (work,) = (root / ".work/render-pool").iterdir()
    return work


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


class TestAfterACrash:
    def rebuilt(self) -> tuple[str, list[int]]:
        """The root on disk after continuing, and the shards that were done for it."""
        with shards_done(RenderJob) as done:
            render_round("pool", load_params(), workers=Workers(1))
        return store_root(FACES), done

    def test_finished_shards_are_not_done_again(self, work: Path, rounds_once: Path) -> None:
        assert self.rebuilt() == (store_root(rounds_once / FACES), [])

    @pytest.mark.parametrize("name", ["store/images/c/0/0/0/0", "pieces/00000.npz"])
    @pytest.mark.parametrize("damage", [flip_bit, Path.unlink])
    def test_damaged_files_are_made_again(
        self, work: Path, rounds_once: Path, name: str, damage
    ) -> None:
        damage(work / name)
        assert self.rebuilt() == (store_root(rounds_once / FACES), [0])

    def test_shard_with_a_torn_ledger_line_is_done_again(
        self, work: Path, rounds_once: Path
    ) -> None:
        ledger = work / LEDGER
        ledger.write_bytes(ledger.read_bytes()[:-9])
        assert self.rebuilt() == (store_root(rounds_once / FACES), [0])

    @pytest.mark.parametrize("recorded", [True, False])
    def test_shards_that_other_code_or_libraries_left_are_made_again(
        self, work: Path, rounds_once: Path, recorded: bool
    ) -> None:
        begun = work / LOADED
        values = json.loads(begun.read_text(encoding="utf-8"))
        values["libraries"]["numpy"] = "1.0"
        begun.write_text(json.dumps(values), encoding="utf-8")
        if not recorded:
            begun.unlink()
        assert self.rebuilt() == (store_root(rounds_once / FACES), [0])
        assert self.rebuilt() == (store_root(rounds_once / FACES), [])

    @pytest.mark.parametrize(
        "name", ["store/images/c/0/0/0/0.5f3a.partial", "store/.passport.json.77.tmp"]
    )
    def test_temporary_files_of_a_killed_process_do_not_stay(
        self, work: Path, rounds_once: Path, name: str
    ) -> None:
        (work / name).write_bytes(b"half")
        assert self.rebuilt() == (store_root(rounds_once / FACES), [])


class TestAgain:
    def test_finished_build_is_linked_without_work(self, pool: FaceStore) -> None:
        shutil.rmtree(FACES)
        with shards_done(RenderJob) as done:
            render_round("pool", load_params(), workers=Workers(1))
        assert FaceStore.open(FACES).root == pool.root
        assert done == []

    def test_damaged_output_is_made_good(self, pool: FaceStore) -> None:
        shutil.rmtree(".work/render-pool")
        render_round("pool", load_params(), workers=Workers(1))
        flip_bit(FACES / "images/c/0/0/0/0")  # as a hard link, the scratch folder's too
        render_round("pool", load_params(), workers=Workers(1))
        assert store_root(FACES) == pool.root

    def test_other_settings_make_another_store(self, pool: FaceStore) -> None:
        params = load_params()
        smaller = replace(params, render=replace(params.render, frame_size=32))
        render_round("pool", smaller, workers=Workers(1))
        found = FaceStore.open(FACES)
        assert found.images(0, 1).shape == (1, 32, 32, 3)
        assert found.root != pool.root
        assert len(list(Path(".work/render-pool").iterdir())) == 1

    def test_latents_of_another_generator_are_refused(self, rounds: Path) -> None:
        params = load_params()
        recipe = replace(recipe_for("pool", params), generator_sha256="12" * 32)
        save(empty(recipe, origin="prior"), force=True)
        with pytest.raises(InputError, match=r"round pool: latents of generator .*121212121212"):
            render_round("pool", params, workers=Workers(1))


def test_a_round_without_faces_renders(workspace: Path, params: Params) -> None:
    save(empty(recipe_for("mined-9", params), origin="mined"))
    render_round("mined-9", params, workers=Workers(2))
    store = FaceStore.open(layout.faces("mined-9"))
    assert (len(store), store.passport.num_ok, store.passport.failures) == (0, 0, {})
    assert store.images(0, 0).shape == (0, 96, 96, 3)
    assert store.root == store_root(store.path)


@pytest.mark.parametrize(("rows", "usable"), [(640, 0), (640, 1), (0, 0)])
def test_a_round_without_a_face_ends_there(
    rounds: Path, rows: int, usable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    passport = replace(
        FaceStore.open(FACES).passport,
        num_rows=rows,
        num_ok=usable,
        failures={"no_face": rows - usable} if rows else {},
    )
    monkeypatch.setattr("pipeline.render.render_round", lambda *_, **__: passport)
    refused = pytest.raises(InputError, match=r"0 of 640 .*\(640 no_face\); look at pictures")
    with refused if rows and not usable else contextlib.nullcontext():
        run_stage("pipeline.render", ["pool"])


@pytest.mark.parametrize(
    ("words", "end"),
    [
        ("sample.pool", r"manifests/rounds/pool.parquet: 16,384 latents of the prior, digest \w+"),
        ("render.probe", r"data/probe/faces.zarr: \d+ of 40 rows are usable.*"),
        ("embed.pool", r"data/pool/teachers/dlib-resnet.zarr: \d+ of 72 rows are usable.*"),
        ("screen.pool", r"data/pool/marks/dlib-resnet.parquet: marked \d+ near_duplicate, .*"),
        ("card.pool", r"data/pool/card/croissant.json, \S+: \d+ of 72 .*; embedded by dlib-resnet"),
    ],
)
def test_a_command_ends_with_where_what_and_next(
    rounds: Path, words: str, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verb, name = words.split(".")
    run_stage(VERBS[verb].module, [name, *(["--force"] if verb == "sample" else [])])
    said = capsys.readouterr().out
    more = {
        "sample": "render",
        "render": "embed",
        "embed": "screen",
        "screen": "train RUN --rounds",
        "card": "pack",
    }
    rest = rf"\nnext: facestill {more[verb]} {name}\b.*"
    assert re.fullmatch(f"{end}{rest}\n", said), said
