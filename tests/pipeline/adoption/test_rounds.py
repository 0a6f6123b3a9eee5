"""Image sets that exist already, as rounds: same stores, honest papers, nothing of it guessed."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from manifests.card import main as card
from manifests.check import find_faults
from manifests.core import layout
from manifests.core.digests import folder_hashes
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.settings.params import Params
from manifests.stores.latents import LatentManifest
from manifests.stores.reading import FaceStore
from manifests.stores.rounds import open_round
from pipeline import adopt
from pipeline.adopt import adopt_round, main
from pipeline.adoption.crops import AdoptJob, moved
from pipeline.adoption.image_sets import Wanted
from pipeline.arrays.align import Face, crop_photograph
from pipeline.arrays.frames import ARCFACE112, WIDE, Frame, to_frame
from pipeline.arrays.landmarks import ARCFACE5, SCHEMES
from pipeline.building.workers import Workers
from pipeline.embed import embed_round
from pipeline.plan import rounds_here
from pipeline.render import render_round
from pipeline.repair import repair
from tests.networks import write_network
from tests.pipeline.adoption.toys import ALIGNED, FOUND, PEOPLE, SET, SIDE, adopted
from tests.pipeline.conftest import Interrupted, shards_done
from tests.toys import make_round
from train.batching.sources import open_sources


class TestRound:
    def test_rows_are_the_images_by_their_hashes(
        self, images: dict[str, np.ndarray], params: Params
    ) -> None:
        assert adopted(params) == (
            "143 imported faces, 143 of them usable, 11 identities; "
            "stated to be made by DigiFace-1M"
        )
        table = LatentManifest.read(layout.manifest("digi")).table.to_pydict()
        hashes = {hashlib.sha256((SET / name).read_bytes()).hexdigest(): name for name in images}
        assert table["source_sha256"] == sorted(hashes)
        names = [hashes[own] for own in table["source_sha256"]]
        folders = sorted({name.split("/")[0] for name in names})
        assert table["identity_id"] == [folders.index(name.split("/")[0]) for name in names]
        assert set(table["origin"]) == {"imported"} and set(table["latent"]) == {None}
        faces = FaceStore.open(layout.faces("digi"))
        stored = faces.images(0, len(faces))
        for row in (0, 70, 142):
            picture = torch.from_numpy(images[names[row]]).permute(2, 0, 1)[None].float()
            wanted = to_frame(picture, ARCFACE112.at(SIDE), WIDE.at(48))[0].permute(1, 2, 0)
            assert np.abs(stored[row].astype(float) - wanted.numpy()).max() <= 1.0
        assert np.isnan(faces.column("landmarks")).all()

    def test_papers_say_what_was_stated(
        self, images: dict[str, np.ndarray], params: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        adopted(params)
        faces = FaceStore.open(layout.faces("digi"))
        identity = faces.passport.fingerprint.identity
        digest = LatentManifest.read(layout.manifest("digi")).recipe.generator_sha256
        listed = "\n".join(
            sorted(hashlib.sha256((SET / name).read_bytes()).hexdigest() for name in images)
        )
        assert digest == hashlib.sha256(listed.encode()).hexdigest()
        assert (identity["name"], identity["weights_sha256"]) == ("folder", digest)
        assert identity["synthetic_source"] == "DigiFace-1M"
        assert faces.passport.licences == {"DigiFace-1M": "research only"}
        monkeypatch.setattr(sys, "argv", ["card", "digi"])
        card()
        text = "".join(path.read_text() for path in layout.card("digi").iterdir())
        assert "143 faces were imported: who imported them states that they are synthetic" in text
        assert read_json(layout.manifest_summary("digi"))["num_identities"] == PEOPLE

    def test_everything_after_it_works_as_for_rendered_faces(
        self, images: dict[str, np.ndarray], params: Params
    ) -> None:
        adopted(params)
        embed_round("digi", f"onnx:{write_network(Path('toy.onnx'))}", params, workers=Workers(1))
        store = layout.teacher("digi", "toy")
        assert not find_faults(layout.faces("digi")) and not find_faults(store)
        files = open_round("digi", "toy")
        assert (files.num_imported, files.synthetic_source) == (143, "DigiFace-1M")
        settings = replace(params.train, leave_out=())
        known = replace(params, teacher="toy", train=settings)
        (source,), _ = open_sources(["digi"], [known.teacher], known, {})
        assert len(source.usable) == 143

    def test_images_in_no_folder_have_no_identity(
        self, images: dict[str, np.ndarray], params: Params
    ) -> None:
        (SET / "3/5.png").rename(SET / "alone.png")
        adopted(params)
        manifest = LatentManifest.read(layout.manifest("digi"))
        assert manifest.table["identity_id"].null_count == 1


class TestBytes:
    def test_interrupted_elsewhere_or_by_workers_they_are_the_same(
        self, images: dict[str, np.ndarray], params: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        adopted(params)
        wanted = folder_hashes(layout.faces("digi"))
        for folder in (layout.faces("digi"), layout.WORK):
            shutil.rmtree(folder)
        with shards_done(AdoptJob, dies_at=2), pytest.raises(Interrupted):
            adopted(params)
        shutil.copytree(SET, "elsewhere")
        with shards_done(AdoptJob) as done:
            adopt_round("digi", Wanted(Path("elsewhere")), ALIGNED, params, Workers(1))
        assert done == [2]
        assert folder_hashes(layout.faces("digi")) == wanted
        with shards_done(AdoptJob) as done:
            adopted(params)
        assert not done

    def test_repair_and_render_point_to_the_images(
        self, images: dict[str, np.ndarray], params: Params
    ) -> None:
        adopted(params)
        next((layout.faces("digi") / "images").rglob("1/0/0/0")).unlink()
        for call in (
            lambda: repair(layout.faces("digi"), params, Workers(1)),
            lambda: render_round("digi", params, workers=Workers(1)),
        ):
            with pytest.raises(InputError, match=r"imported from images.*facestill adopt"):
                call()
        with pytest.raises(InputError, match="no manifest; sample a round"):
            rounds_here()
        adopted(params)
        assert not find_faults(layout.faces("digi"))

    def test_a_changed_image_is_another_round(
        self, images: dict[str, np.ndarray], params: Params
    ) -> None:
        adopted(params)
        before = folder_hashes(layout.faces("digi"))
        (SET / "0/0.png").unlink()
        with pytest.raises(InputError, match="round digi holds other faces; choose another"):
            adopted(params)
        with pytest.raises(InputError, match="holds other faces"):
            adopted(params, origin=replace(ALIGNED, synthetic_source="DCFace"))
        assert folder_hashes(layout.faces("digi")) == before

    def test_an_image_that_changes_during_the_build_is_noticed(
        self, images: dict[str, np.ndarray], params: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = adopt.read_image_set

        def then_changed(*args: object, **keys: object) -> object:
            found = read(*args, **keys)  # type: ignore[arg-type]
            (SET / "1/1.png").write_bytes((SET / "0/0.png").read_bytes())
            return found

        monkeypatch.setattr(adopt, "read_image_set", then_changed)
        with pytest.raises(InputError, match=r"1/1\.png: changed since the build began"):
            adopted(params)


class TestDetection:
    @pytest.fixture
    def photographs_set(self, workspace: Path, photographs: list[np.ndarray]) -> None:
        for number, picture in enumerate(photographs[:2]):
            (SET / str(number)).mkdir(parents=True)
            Image.fromarray(picture).save(SET / f"{number}/0.png")
        Image.new("RGB", (150, 120), (9, 99, 199)).save(SET / "0/sky.png")

    def test_faces_are_found_and_pictures_without_keep_their_row(
        self, photographs_set: None, params: Params
    ) -> None:
        assert "3 imported faces, 2 of them usable, 2 identities" in adopted(params, origin=FOUND)
        faces = FaceStore.open(layout.faces("digi"))
        assert faces.passport.failures == {"no_face": 1}
        ok, places = faces.ok(), faces.column("landmarks")
        goal = SCHEMES[str(faces.group.attrs["landmark_scheme"])].inside(Frame(**faces.frame))
        assert np.abs(places[ok] - goal).max() < 5
        assert np.isnan(places[~ok]).all() and not faces.images(0, 3)[~ok].any()
        assert "alignment" in faces.passport.fingerprint.identity

    def test_landmarks_lie_where_the_crop_shows_them(self) -> None:
        """A picture whose colours are its own coordinates tells where a place came from."""
        picture = np.zeros((200, 220, 3), np.uint8)
        picture[..., 0], picture[..., 1] = np.arange(220), np.arange(200)[:, None]
        turn = np.array([[0.9, -0.2], [0.2, 0.9]])
        landmarks = ARCFACE5.inside(WIDE.at(120)) @ turn.T + (35.0, 10.0)
        frame = WIDE.at(96)
        face = Face(landmarks, 0.0)
        crop = crop_photograph(picture, face, frame)
        for (x, y), wanted in zip(moved(face, frame), landmarks - 0.5, strict=True):
            shown = crop[:2, int(y), int(x)].numpy()
            assert np.abs(shown - wanted).max() < 2.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--synthetic-source": None}, "required: --synthetic-source"),
        ({"--licence": None}, "required: --licence"),
        ({"--synthetic-source": ""}, "--synthetic-source '': expected one line"),
        ({"--licence": "two\nlines"}, "--licence .* expected one line of up to 200"),
        ({"--licence": "bytes \udcff"}, "--licence .* expected one line of up to 200"),
        ({"--frame": "ffhq"}, "invalid choice: 'ffhq'"),
        ({"--round": "../up"}, "a name has letters"),
        ({"--round": None}, "required: --round"),
        ({"": "zip:digiface"}, "unknown kind of image set 'zip'; valid names: folder"),
        ({"": "folder:"}, "expected KIND:PATH, as in folder:DIR"),
        ({"": "folder:digiface", "--identity": "who"}, "has no --image and no --identity: folders"),
        ({"": "hdf5:a.h5"}, "as `facestill unpack a.h5` brings all of it back"),
        ({"": "parquet:nowhere"}, "nowhere: no such folder; name one with .parquet files"),
    ],
)
def test_the_command_asks_for_what_must_be_stated(
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str | None],
    message: str,
) -> None:
    words: dict[str, str | None] = {
        "": "folder:digiface", "--round": "digi", "--synthetic-source": "x", "--licence": "y",
    }  # fmt: skip
    given = [part for key, value in (words | changes).items() if value is not None
             for part in ([key, value] if key else [value])]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["adopt", *given])
    with pytest.raises(InputError, match=message):
        main()


def test_photographs_are_not_taken_for_crops(workspace: Path, params: Params) -> None:
    """Squares of ORL, in which heads fill the height, as arcface112."""
    for person in range(1, 9):
        picture = Image.open(layout.WEIGHTS / f"orl/s{person}/1.pgm").crop((0, 10, 92, 102))
        (SET / str(person)).mkdir(parents=True)
        picture.resize((112, 112)).save(SET / f"{person}/1.png")
    with pytest.raises(InputError, match="digiface: no crops in the frame arcface112: the faces"):
        adopted(params)
    assert not layout.manifest("digi").exists()
    assert "8 imported faces" in adopted(params, origin=FOUND)


def test_imported_faces_of_unstated_origin_are_not_trained_on(
    workspace: Path, params: Params
) -> None:
    make_round("strangers", 40, origin="imported")
    known = replace(params, teacher="toy", train=replace(params.train, leave_out=()))
    with pytest.raises(
        InputError, match=r"round strangers: 40 imported faces that may be photographs of real"
    ):
        open_sources(["strangers"], [known.teacher], known, {})
    assert os.listdir(layout.MANIFESTS) == ["strangers.parquet"]
