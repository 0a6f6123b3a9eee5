"""Leakage, from rounds and photographs to the report: a planted copy is found."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import sys
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval import leakage
from eval.alignment import crops_in
from eval.benchmarks import open_benchmark
from eval.leakage import main
from eval.photos import real_faces
from eval.photos.models import VIEWS, load_model
from eval.photos.stored_faces import group_numbers
from eval.photos.verification import verify_models
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.settings.leakage import Leakage
from manifests.settings.params import Params, load_params
from manifests.stores.rounds import open_round
from pipeline.arrays.align import crop_photograph
from pipeline.arrays.frames import ARCFACE112
from pipeline.building.workers import Workers
from pipeline.embed import embed_round
from tests.conftest import lay_out
from tests.networks import write_network
from tests.pipeline.adoption.toys import adopted
from tests.toys import make_round

PEOPLE, EACH, SYNTHETIC, SIDE = 7, 4, 90, 32
OUT = Path("leakage.json")
ROUNDS, TEACHER = ("one", "two"), "toy"


def smooth(rng: np.random.Generator) -> np.ndarray:
    """A coarse picture, enlarged: what a resampling leaves as it was."""
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return np.array(coarse.resize((SIDE, SIDE)))


def write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


@pytest.fixture(scope="module")
def built_once(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> tuple[Path, Params]:
    """Two rounds by a teacher in a file, and photographs of people. In round two, one face is a
    photograph of person p3, a little brighter. Not to be changed."""
    root = lay_out(tmp_path_factory.mktemp("leakage"), weights)
    rng = np.random.default_rng(0)
    with contextlib.chdir(root):
        for person in range(PEOPLE):
            own = smooth(rng).astype(float)
            for number in range(EACH):
                noise = rng.normal(0, 8, (4, 4, 3)).repeat(8, 0).repeat(8, 1)
                picture = (own + noise).clip(0, 255).astype(np.uint8)
                write(Path(f"real/p{person}/{number}.png"), picture)
        for name in ROUNDS:
            for number in range(SYNTHETIC):
                write(Path(f"{name}/{number // 3}/{number}.png"), smooth(rng))
        copied = np.array(Image.open("real/p3/2.png")).astype(int)
        write(Path("two/7/leak.png"), (copied + 2).clip(0, 255).astype(np.uint8))
        teachers = {TEACHER: f"onnx:{write_network(Path('toy.onnx'))}"}
        params = replace(load_params(), teacher=TEACHER, teachers=teachers)
        params = replace(params, render=replace(params.render, frame_size=64, shard_rows=64))
        for name in ROUNDS:
            adopted(params, name, images=Path(name))
            embed_round(name, TEACHER, params, workers=Workers(1))
    return root, params


@pytest.fixture
def built(
    built_once: tuple[Path, Params], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Params:
    """A copy of it, which is the current folder; its parameters."""
    root, params = built_once
    leave_out = shutil.ignore_patterns(".work")
    shutil.copytree(root, tmp_path / "copy", symlinks=True, ignore=leave_out)
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setattr(leakage, "load_params", lambda: params)
    return params


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> dict[str, Any]:
    """The report, with what the teacher found."""
    given = ["leakage", *ROUNDS, "--real", "folder:real", "--out", str(OUT), "--force", "--frame"]
    monkeypatch.setattr(sys, "argv", [*given, "arcface112", *words])
    main()
    report = read_json(OUT)
    return report | next(iter(report["teachers"].values()))


class TestReport:
    def test_a_copied_person_is_found(
        self, built: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        report = run(monkeypatch, "--pairs", "5")
        first, *others = report["top_pairs"]
        assert (first["round"], first["real"]) == ("two", "p3/2.png")
        assert first["score"] > 0.99 and len(others) == 4
        files = open_round("two", TEACHER)
        manifest = files.require_manifest()
        assert manifest.face_id[first["row"]] == first["face_id"]
        leak = manifest.table["identity_id"].to_pylist()[first["row"]]
        folders = sorted(str(number) for number in range(SYNTHETIC // 3))
        assert folders[leak] == "7"
        best = report["best_match"]
        assert best["synthetic"]["max"] == pytest.approx(first["score"])
        assert report["synthetic_faces"] == 2 * SYNTHETIC + 1
        printed = capsys.readouterr().out
        assert (
            "181 synthetic faces against 28 of 7 people (folder:real, 0 without a face" in printed
        )
        ends = first["score"], others[-1]["score"]
        assert "toy: most alike pair: {:.4f}, 5th: {:.4f}".format(*ends) in printed

    def test_the_threshold_is_that_of_the_fewest_impostors_that_bear_one(
        self, built: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        point = run(monkeypatch)["operating_point"]
        impostors = EACH**2 * PEOPLE * (PEOPLE - 1) // 2
        assert point["impostor_pairs"] == impostors
        assert point["fmr"] == pytest.approx(10 / impostors)
        assert point["wanted_fmr"] == 1e-5

    def test_people_are_covered_where_a_face_is_near(
        self, built: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        report = run(monkeypatch)
        near, far = report["coverage"]["0.5"], report["coverage"]["0.95"]
        assert near["score"] > far["score"]
        assert 1 <= near["synthetic"]["count"] <= far["synthetic"]["count"]
        assert near["synthetic"]["of"] == PEOPLE * EACH

    def test_reports_are_the_same_bytes_and_blocks_change_none(
        self, built: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(monkeypatch)
        before = OUT.read_bytes()
        monkeypatch.setattr("eval.photos.stored_faces.BLOCK", 33)
        run(monkeypatch)
        assert OUT.read_bytes() == before

    def test_photographs_without_a_face_are_left_out_and_counted(
        self, built: Params, monkeypatch: pytest.MonkeyPatch, weights: Path
    ) -> None:
        for person in (1, 2, 3):
            for number in (1, 2, 3):
                picture = Image.open(weights / f"orl/s{person}/{number}.pgm").convert("RGB")
                write(Path(f"found/s{person}/{number}.png"), np.array(picture.resize((276, 336))))
        write(Path("found/s1/sky.png"), np.full((150, 120, 3), 99, np.uint8))
        given = ["leakage", *ROUNDS, "--real", "folder:found", "--out", str(OUT)]
        monkeypatch.setattr(sys, "argv", given)
        main()
        found = {"faces": 9, "people": 3, "undetected": 1}
        assert read_json(OUT)["real"] == found | {"repeated": 0, "of_several_people": 0}


class TestStrangers:
    def test_their_threshold_is_that_of_the_labelled_set(
        self, built: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        labelled = run(monkeypatch)
        for number, path in enumerate(sorted(Path("real").rglob("*.png"))):
            Path(f"flat/{number // 10:02}000").mkdir(parents=True, exist_ok=True)
            shutil.copy(path, f"flat/{number // 10:02}000/{number:05}.png")
        capsys.readouterr()
        words = ("--no-identities", "--threshold-from", "folder:real", "--real", "folder:flat")
        found = run(monkeypatch, *words)
        point = found["operating_point"]
        assert point == labelled["operating_point"] | {"source": "folder:real"}
        assert found["best_match"]["synthetic"] == labelled["best_match"]["synthetic"]
        assert found["coverage"]["0.5"]["score"] == labelled["coverage"]["0.5"]["score"]
        # a person's other photographs count as strangers now
        alike = [own["best_match"]["real_other_person"]["mean"] for own in (found, labelled)]
        assert alike[0] > alike[1] + 0.01
        assert found["real"]["people"] is None and found["folders"] is None
        printed = capsys.readouterr().out
        assert "against 28 strangers (folder:flat" in printed and "real, next stranger" in printed

    def test_folders_that_name_nobody_are_noticed(
        self, built: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(240):
            path = Path(f"ffhq/{number // 40:02}000/{number:05}.png")
            write(path, smooth(np.random.default_rng(number)))
        looked = []
        cut = crop_photograph
        monkeypatch.setattr(real_faces, "crop_photograph", lambda *a: looked.append(1) or cut(*a))
        message = r"over 6 folders by .*, expected at least 0\.7\); give --no-identities, .*--thr"
        with pytest.raises(InputError, match=message) as caught:
            run(monkeypatch, "--real", "folder:ffhq")
        assert "\n" not in str(caught.value) and not OUT.exists()
        assert len(looked) == 6 * 4  # of 240

    def test_a_result_of_verify_serves_the_teacher_that_it_is_of(
        self, built: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = load_model("onnx:toy.onnx", layout.WEIGHTS)
        protocol = open_benchmark("folder:real", crops_in(ARCFACE112))
        for views in VIEWS:
            (done,) = verify_models([model], protocol, views)
            done.write(Path(views))
        found = run(monkeypatch, "--no-identities", "--threshold-from", "plain")
        impostors = done.metrics["num_impostors"]
        assert found["operating_point"]["impostor_pairs"] == impostors
        assert found["operating_point"]["source"] == "plain"
        with pytest.raises(
            InputError, match=r"no result of .* \(cosine, plain\) among plain\+flip"
        ):
            run(monkeypatch, "--no-identities", "--threshold-from", "plain+flip")


class TestPage:
    def test_photographs_are_on_it_only_if_asked_for(
        self, built: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shown = []
        for words in ((), ("--show-photographs",)):
            run(monkeypatch, "--pairs", "2", "--page", "page.html", *words)
            page = Path("page.html").read_text()
            held = re.findall(r'src="data:image/webp;base64,([^"]+)"', page)
            images = [np.array(Image.open(io.BytesIO(b64decode(own)))) for own in held]
            assert len(images) == 2 and "p3/2.png" in page
            shown.append(images[0])
        alone, beside = shown
        assert (alone[:, :64, 3] == 255).all() and (alone[:, 64:, 3] == 0).all()
        assert (beside[:, 68:, 3] == 255).all()
        # the copied face, a little brighter
        assert np.abs(beside[:, :64, :3].astype(int) - beside[:, 68:, :3]).mean() < 6


class TestSeveralTeachers:
    def test_one_table_and_in_what_they_agree(
        self, built: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_network(Path("other.onnx"), width=16)
        both = replace(built, teachers={**built.teachers, "other": "onnx:other.onnx"})
        monkeypatch.setattr(leakage, "load_params", lambda: both)
        for name in ROUNDS:
            embed_round(name, "other", both, workers=Workers(1))
        alone = run(monkeypatch, "--pairs", "5")
        capsys.readouterr()
        report = run(monkeypatch, "--pairs", "5", "--teacher", TEACHER, "other")
        assert report["teachers"][TEACHER] == alone["teachers"][TEACHER]
        agreed = report["agreement"]
        assert agreed["top_pairs"]["each"] == 5 and 1 <= agreed["top_pairs"]["all"] <= 5
        assert agreed["above_threshold"]["all"] <= agreed["above_threshold"]["any"]
        printed = capsys.readouterr().out
        assert "all 2 teachers agree on" in printed and "toy and other" in printed


class TestGate:
    def gated(
        self, built: Params, monkeypatch: pytest.MonkeyPatch, limit: float, **more: object
    ) -> int:
        check = {"real": "folder:real", "rounds": list(ROUNDS), "frame": "arcface112",
                 "most_alike": limit, **more}  # fmt: skip
        gates = {"album": Leakage.parsed(check, "params.yaml")}
        monkeypatch.setattr(leakage, "load_params", lambda: replace(built, leakage=gates))
        monkeypatch.setattr(sys, "argv", ["leakage", "--gate", "album"])
        return main()

    def test_it_fails_in_one_line_above_the_limit_and_leaves_the_report(
        self, built: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.gated(built, monkeypatch, 0.0) == 1
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert re.fullmatch(
            r"leakage album: \d+\.\d\d% of the faces are as alike as half of a person's own pairs, "
            r"above most_alike 0 \(toy\); look at reports/leakage/album/index\.html", said
        )  # fmt: skip
        report = read_json(layout.leakage("album") / "leakage.json")
        assert len(report["broken"]) == 1 and (layout.leakage("album") / "index.html").exists()
        assert self.gated(built, monkeypatch, 1.0) == 0
        assert read_json(layout.leakage("album") / "leakage.json")["broken"] == []

    def test_it_shows_no_photographs_of_a_benchmark_by_whatever_name(
        self, built: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for real in ("orl", "folder:data/weights/orl", "pairs:data/../data/weights"):
            with pytest.raises(InputError, match=f"{real} are not the user's own"):
                self.gated(built, monkeypatch, 1.0, real=real, show_photographs=True)


class TestRefusals:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--pairs", "0"], "--pairs 0: expected at least 1"),
            (["--out", "real"], "real: no file can be there"),
            (["--teacher", "none"], r"teachers/none\.zarr: this store does not exist"),
            (["--teacher", "onnx:toy.onnx"], "a store is called by a name"),
            (["--real", "folder:nowhere"], "nowhere: no such folder"),
            (["--real", "lfw"], "photographs lfw need a folder"),
            (["--real", "folder:alone"], "in no folder of its person"),
            (["--real", "folder:single"], "photographs: 0 pairs of different people"),
            (["--real", "folder:strangers"], "at most 1 of one person, expected more than 10"),
            (["--real", "folder:years"], r"years: its folders are no people: .*0\.\d\d over 4"),
            (["--no-identities"], "without identities nobody can say .* --threshold-from"),
            (["--threshold-from", "here"], r"here/scores\.parquet is not there; expected a result"),
            (["--threshold-from", "orl", "folder:real"], "one set of photographs serves all"),
            (["--threshold-from", "folder:strangers"], "folder:strangers: .* at most 1 of one per"),
            (["--show-photographs"], "on no page; name one with --page"),
            (["--page", "a.html", "--show-photographs", "--real", "orl"], "not the user's own"),
            (["--teacher", "toy", "toy"], "--teacher toy toy: one is named twice"),
            (["--gate", "ffhq"], r"params\.yaml has no gate under leakage; write one"),
            (["--real", "folder:broken"], r"broken/p6/3\.png: not a readable image"),
            (
                ["--real", "folder:oblong"],
                r"oblong/p6/3\.png: 40x32 pixels; an aligned crop is squ",
            ),
        ],
    )
    def test_bad_input_is_named(
        self, built: Params, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
    ) -> None:
        write(Path("alone/0.png"), np.zeros((SIDE, SIDE, 3), np.uint8))
        shutil.copytree("real/p1", "single/p1")
        for person in range(PEOPLE):
            write(Path(f"strangers/{person}/0.png"), smooth(np.random.default_rng(person)))
            for number in range(EACH):
                write(
                    Path(f"years/{number}/{person}.png"),
                    smooth(np.random.default_rng(9 * person + number)),
                )
        for name in ("oblong", "broken"):
            shutil.copytree("real", name)
        write(Path("oblong/p6/3.png"), np.zeros((32, 40, 3), np.uint8))
        Path("broken/p6/3.png").write_bytes(b"no image")
        if "folder:years" not in words:  # which is seen by looking
            monkeypatch.setattr(real_faces, "crop_photograph", lambda *_: pytest.fail("late"))
        with pytest.raises(InputError, match=message) as caught:
            run(monkeypatch, *words)
        assert "\n" not in str(caught.value) and not OUT.exists()

    def test_a_picture_of_two_people_is_said(
        self, built: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        kinds = ("repeated", "of_several_people")
        before = run(monkeypatch)
        assert [before["real"][kind] for kind in kinds] == [0, 0]
        assert "the very bytes of another" not in capsys.readouterr().out
        shutil.copy("real/p1/0.png", "real/p1/again.png")
        shutil.copy("real/p1/0.png", "real/p2/again.png")
        assert [run(monkeypatch)["real"][kind] for kind in kinds] == [2, 1]
        said = capsys.readouterr().out
        assert "2 photographs are the very bytes of another, 1 pictures lie in folders of" in said

    def test_photographs_are_not_taken_for_crops(
        self, built: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.rmtree("real")
        for person in range(1, 9):
            for number in (1, 2):
                original = Image.open(layout.WEIGHTS / f"orl/s{person}/{number}.pgm")
                picture = original.crop((0, 10, 92, 102)).convert("RGB")
                write(Path(f"real/s{person}/{number}.png"), np.array(picture))
        with pytest.raises(InputError, match="real: no crops in the frame arcface112: the faces"):
            run(monkeypatch)

    def test_a_round_twice_is_refused(self, built: Params, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            sys, "argv", ["leakage", "one", "one", "--real", "folder:real", "--out", str(OUT)]
        )
        with pytest.raises(InputError, match="rounds one and one are the same"):
            main()

    def test_another_teacher_of_the_name_is_refused(
        self, built: Params, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_network(Path("toy.onnx"), width=16)
        with pytest.raises(InputError, match=r"toy\.zarr: not by the toy that is here"):
            run(monkeypatch)


def test_faces_of_an_identity_or_a_parent_count_together(workspace: Path) -> None:
    identity = np.ma.masked_less(np.array([5, 5, -1, -1, -1, 5]), 0)
    parent = np.ma.masked_less(np.array([9, 8, 8, 8, -1, -1]), 0)
    columns = {"identity_id": identity, "parent_id": parent}
    for name in ROUNDS:
        make_round(name, 6, failed=0.0, seed=ROUNDS.index(name), **columns)
    groups = group_numbers([open_round(name, TEACHER) for name in ROUNDS])
    assert groups.tolist() == [0, 0, 1, 1, 2, 0, 3, 3, 4, 4, 5, 3]
    assert layout.faces("one").exists()
