"""Teachers by name and in files: contracts, names, and several for one round."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from manifests.core import layout
from manifests.core.digests import canonical_json, folder_hashes
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.settings.params import Embed, Params, load_params
from manifests.stores.reading import FaceStore, TeacherStore
from manifests.stores.rounds import embedded_by, open_round
from manifests.takeaway.packing import export_round
from manifests.takeaway.unpacking import import_round
from pipeline import embed, plan
from pipeline.arrays import numerics
from pipeline.arrays.frames import Frame
from pipeline.audit import audit
from pipeline.building.embeddings import embed_faces
from pipeline.building.workers import Workers
from pipeline.embed import embed_round, open_embedding
from pipeline.repair import repair
from pipeline.screen import screen_round
from pipeline.teachers import load_teacher
from pipeline.teachers.base import Teacher, in_precision
from tests.contracts import FileContract, TeacherContract
from tests.networks import DECLARED, write_network
from tests.pipeline.test_repair import change_byte

FILE = Path("models/odd place/toy net.onnx")
TEXT = f"onnx:{FILE}"
NAME = "toy_net.v2"
STORE = layout.teacher("pool", NAME)
FIRST = layout.teacher("pool", "dlib-resnet")


class TestDlibResnet(TeacherContract, FileContract):
    @pytest.fixture(scope="class")
    @classmethod
    def teacher(cls, dlib_resnet: Teacher) -> Teacher:
        return dlib_resnet

    @pytest.fixture
    def backend(self, dlib_resnet: Teacher) -> Teacher:
        return dlib_resnet


class TestInBfloat16(TeacherContract):
    @pytest.fixture(scope="class")
    @classmethod
    def teacher(cls, dlib_resnet: Teacher) -> Teacher:
        return in_precision(dlib_resnet, "bfloat16", "cpu")

    def test_identity_is_complete_and_survives_json(
        self, teacher: Teacher, dlib_resnet: Teacher
    ) -> None:
        identity = dlib_resnet.identity() | {"precision": "bfloat16"}
        assert json.loads(canonical_json(teacher.identity())) == identity


def test_unknown_teacher_is_answered_with_the_valid_ones(weights: Path) -> None:
    with pytest.raises(
        InputError, match=r"unknown teacher 'arcface'; valid names: .*dlib-resnet, onnx; or declare"
    ):
        load_teacher("arcface", weights)


@pytest.mark.parametrize("name", ["onnx:models/a.onnx", "../a", "a/b", "", ".a", "a b"])
def test_no_store_is_called_by_a_path(name: str) -> None:
    with pytest.raises(InputError, match="give a teacher in a file one under `teachers` in params"):
        layout.teacher("pool", name)


def of_pool() -> list[str]:
    return embedded_by("pool", FaceStore.open(layout.faces("pool")))[0]


@pytest.fixture
def second(sharded: Params) -> Params:
    """A round with two teachers, one of them in a file; parameters that name that one."""
    FILE.parent.mkdir(parents=True)
    write_network(FILE, declared=DECLARED | {"name": NAME})
    embed_round("pool", TEXT, sharded, workers=Workers(1))
    return replace(sharded, teacher=NAME, teachers={NAME: TEXT})


class TestSeveralTeachers:
    def test_a_second_one_touches_no_byte_of_the_first(self, sharded: Params) -> None:
        before = folder_hashes(FIRST), folder_hashes(layout.faces("pool"))
        FILE.parent.mkdir(parents=True)
        write_network(FILE, declared=DECLARED | {"name": NAME})
        embed_round("pool", TEXT, sharded, workers=Workers(1))
        assert (folder_hashes(FIRST), folder_hashes(layout.faces("pool"))) == before
        assert of_pool() == ["dlib-resnet", NAME]

    def test_rows_are_what_the_file_computes(self, second: Params) -> None:
        faces = FaceStore.open(layout.faces("pool"))
        ok = faces.ok()
        images = faces.images(0, len(faces))[ok]
        expected = embed_faces(load_teacher(TEXT, layout.WEIGHTS), images, Frame(**faces.frame))
        found = open_round("pool", NAME).teacher
        assert np.array_equal(found.embeddings()[ok], expected.astype(np.float16))
        assert found.passport.fingerprint.identity["name"] == NAME

    def test_its_name_gives_the_bytes_that_its_text_gave(self, second: Params) -> None:
        before = folder_hashes(STORE)
        shutil.rmtree(STORE)
        shutil.rmtree(layout.WORK)
        embed_round("pool", NAME, second, workers=Workers(1))
        assert folder_hashes(STORE) == before

    def test_a_worker_elsewhere_loads_it_by_its_text(self, second: Params) -> None:
        job = open_embedding("pool", NAME, second).job
        found = pickle.loads(pickle.dumps(job)).embed(np.arange(9))  # noqa: S301
        assert np.array_equal(
            found.astype(np.float16), TeacherStore.open(STORE).embeddings(0, 9), equal_nan=True
        )

    def test_it_is_audited_and_repaired_by_its_name(self, second: Params) -> None:
        assert audit(STORE, second, Workers(1), rows=30, seed=0).holds
        shutil.rmtree(layout.WORK)
        before = folder_hashes(STORE)
        change_byte(STORE / "embeddings/c/0/0/0")
        assert "root as before" in repair(STORE, second, Workers(1))
        assert folder_hashes(STORE) == before

    def test_screening_and_planning_go_by_its_name(
        self, second: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        screen_round("pool", [], second)
        assert layout.marks("pool", NAME).exists()
        monkeypatch.setattr(plan, "load_params", lambda: second)
        found = []
        for words in ([], ["--teacher", TEXT, "--force"]):
            monkeypatch.setattr(sys, "argv", ["plan", "pool", "--json", "plan.json", *words])
            assert plan.main() == 0
            found.append(read_json(Path("plan.json")))
        assert [plan["teacher"] for plan in found] == [NAME, NAME]

    def test_an_export_takes_it_along_by_its_name(self, second: Params) -> None:
        export_round("pool", Path("pool.h5"))
        import_round(Path("pool.h5"), "team/pool")
        copy = TeacherStore.open(layout.teacher("team/pool", NAME))
        assert copy.root == TeacherStore.open(STORE).root
        assert copy.passport.licences[NAME] == "not stated"


class TestNames:
    def test_params_must_call_it_as_it_calls_itself(self, second: Params) -> None:
        other = replace(second, teachers={"mine": TEXT})
        with pytest.raises(InputError, match=rf"teachers: mine: .* calls itself {NAME}; name it"):
            open_embedding("pool", "mine", other)

    def test_other_weights_of_the_same_name_do_not_take_its_place(self, second: Params) -> None:
        before = folder_hashes(STORE)
        write_network(FILE, width=16, declared=DECLARED | {"name": NAME})
        with pytest.raises(InputError, match=r"toy_net\.v2\.zarr: by other weights called toy_net"):
            embed_round("pool", TEXT, second, workers=Workers(1))
        assert folder_hashes(STORE) == before
        shutil.rmtree(STORE)
        embed_round("pool", TEXT, second, workers=Workers(1))
        assert TeacherStore.open(STORE).width == 16

    def test_the_command_takes_a_file(
        self, sharded: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_network(Path("other.onnx"))
        monkeypatch.setattr(embed, "load_params", lambda: sharded)
        monkeypatch.setattr(
            sys, "argv", ["embed", "pool", "--teacher", f"onnx:{path}", "--workers", "1"]
        )
        embed.main()
        assert of_pool() == ["dlib-resnet", "other"]


class TestPrecision:
    @pytest.fixture
    def exact(self, sharded: Params) -> np.ndarray:
        """The embeddings of the store that was made without a word on precision."""
        assert "precision" not in TeacherStore.open(FIRST).passport.fingerprint.identity
        return TeacherStore.open(FIRST).embeddings().astype(np.float32)

    @pytest.fixture
    def halved(self, sharded: Params, exact: np.ndarray) -> Params:
        """Parameters that ask for bfloat16, and the store made by them."""
        asked = replace(sharded, embed=Embed("bfloat16"))
        embed_round("pool", "dlib-resnet", asked, workers=Workers(1))
        return asked

    def test_a_store_states_bfloat16_and_is_near_float32(
        self, exact: np.ndarray, halved: Params
    ) -> None:
        store = TeacherStore.open(FIRST)
        ok = FaceStore.open(layout.faces("pool")).ok()
        assert store.passport.fingerprint.identity["precision"] == "bfloat16"
        one, two = (rows[ok] - store.centre() for rows in (exact, store.embeddings()))
        norms = np.linalg.norm(one, axis=2) * np.linalg.norm(two, axis=2)
        cosines = (one * two).sum(axis=2) / norms
        assert 0.99 < cosines.min() < cosines.mean() < 0.9999  # another arithmetic, no other face

    def test_float32_makes_the_store_of_before(self, sharded: Params, halved: Params) -> None:
        made = folder_hashes(FIRST)
        embed_round("pool", "dlib-resnet", sharded, workers=Workers(1))
        assert "precision" not in TeacherStore.open(FIRST).passport.fingerprint.identity
        embed_round("pool", "dlib-resnet", halved, workers=Workers(1))
        assert folder_hashes(FIRST) == made

    def test_it_is_audited_in_its_own_precision(self, sharded: Params, halved: Params) -> None:
        assert audit(FIRST, halved, Workers(1), rows=30, seed=0).holds
        with pytest.raises(InputError, match="identity"):
            audit(FIRST, sharded, Workers(1), rows=30, seed=0)

    def test_auto_travels_as_what_it_was_here(
        self, sharded: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for native, precision in ((True, "bfloat16"), (False, "float32")):
            monkeypatch.setattr(numerics, "has_bfloat16", lambda place, found=native: found)
            asked = replace(sharded, embed=Embed("auto"))
            assert open_embedding("pool", "dlib-resnet", asked).job.precision == precision

    def test_a_file_computes_in_its_own_precision(
        self, second: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(numerics, "has_bfloat16", lambda place: True)
        before = folder_hashes(STORE)
        embed_round("pool", NAME, replace(second, embed=Embed("auto")), workers=Workers(1))
        assert folder_hashes(STORE) == before
        with pytest.raises(InputError, match=r"^embed\.precision: bfloat16, but teacher toy_net"):
            open_embedding("pool", NAME, replace(second, embed=Embed("bfloat16")))

    def test_all_that_a_teacher_promises_but_precision_stays(self, dlib_resnet: Teacher) -> None:
        other = in_precision(dlib_resnet, "bfloat16", "cpu")
        assert other.licence == dlib_resnet.licence
        assert other.embed(torch.zeros(2, 3, 150, 150)).dtype == torch.float32
        assert in_precision(dlib_resnet, "float32", "cpu") is dlib_resnet


class WholeHead(Teacher):
    """Wants more of the picture than a store keeps."""

    name, weights_sha256, width = "whole-head", "0" * 64, 3
    metric, preprocessing, licence = "cosine", "none", "CC0-1.0"
    frame = Frame("head", 8, -30.0, -40.0, 172.0)

    def to(self, device: torch.device) -> None: ...

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


def test_a_frame_that_is_not_in_the_stored_crop_is_refused(
    sharded: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "load_teacher", lambda *_: WholeHead())
    with pytest.raises(
        InputError,
        match=r"holds frame wide \(x -8 to 120, y -4 to 124\), which does not contain that of "
        r"teacher whole-head, head \(x -30 to 142, y -40 to 132\); render wider faces",
    ):
        embed_round("pool", "whole-head", sharded, workers=Workers(1))


def test_a_teacher_of_an_installed_package_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "someface-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someface\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[facestill.teachers]\nwhole-head = tests.pipeline.teachers.test_teachers:Package\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = load_teacher("whole-head", Path("somewhere"))
    assert isinstance(found, WholeHead)


class Package:
    """Stands for a module with `load`."""

    @staticmethod
    def load(weights: Path) -> WholeHead:
        assert weights == Path("somewhere")
        return WholeHead()


def test_params_without_files_name_none(workspace: Path) -> None:
    params = load_params()
    assert params.teacher_text(params.teacher) == params.teacher == "dlib-resnet"
