"""What cannot be exported: one line each, before anything is computed."""

from __future__ import annotations

import importlib
import shutil
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manifests.core.errors import InputError
from manifests.core.files import read_json, write_json
from manifests.model_card import JSON, MARKDOWN
from manifests.records.exports import FLOAT, WEIGHTS, Export
from tests.exports import RUN
from tests.toys import make_round
from tests.train.exporting.toys import OUT, command
from train.checkpoint import FILE, LOG, load_student, save_student
from train.export import check_output


class TestBadInput:
    def refused(self, *arguments: str) -> str:
        with pytest.raises(InputError) as caught:
            command(*arguments)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_no_run(self, here: Path) -> None:
        assert "none/student.safetensors: no student here" in self.refused("none")
        (RUN / LOG).unlink()
        assert "runs/start/log.json: no such file" in self.refused(RUN.as_posix())

    def test_a_log_of_another_run(self, here: Path) -> None:
        log = read_json(RUN / LOG)
        log["student"]["sha256"] = "0" * 64
        write_json(self.own(RUN / LOG), log)
        assert "log.json: of student 000000000000" in self.refused(RUN.as_posix())
        write_json(RUN / LOG, {"student": {"sha256": load_student(RUN).sha256}})
        assert "log.json: not the log of a run ('params')" in self.refused(RUN.as_posix())

    @staticmethod
    def own(path: Path) -> Path:
        """The file as a copy, so that nothing hard-linked to it changes."""
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
        return path

    def test_another_export_in_its_place(self, here: Path) -> None:
        command(RUN.name)
        command(RUN.as_posix())  # the same again is no other
        pixels = ("--int8", "none", "--pixels", "uint8")
        said = self.refused(RUN.name, *pixels)
        assert "runs/exports/start: the export with --pixels float32, now it is uint8" in said
        command(RUN.name, *pixels, "--force")
        assert Export.read(OUT).pixels == "uint8"

    def test_stores_of_another_training(self, here: Path) -> None:
        shutil.rmtree("data/pool")
        make_round("pool", 150, seed=9)
        assert "data/pool/faces.zarr: made from root" in self.refused(RUN.as_posix())

    def test_a_teacher_store_of_another_teacher(self, here: Path) -> None:
        other = Path("data/other")
        make_round("other", 150, seed=3)
        shutil.rmtree("data/pool/teachers/toy.zarr")
        shutil.move(other / "teachers/toy.zarr", "data/pool/teachers/toy.zarr")
        assert "data/pool/teachers/toy.zarr: made from root" in self.refused(RUN.as_posix())

    def test_a_manifest_of_other_faces(self, here: Path) -> None:
        make_round("other", 10, seed=3)
        make_round("pool", 150, seed=1)
        store = Path("data/pool/faces.zarr")
        with chdir(here.parent):
            make_round("pool", 12, seed=4)
            Path("manifests/rounds/pool.parquet").replace(here / "manifests/rounds/pool.parquet")
        assert f"not the manifest that {store} was made from" in self.refused(RUN.as_posix())

    def test_a_probe_that_was_trained_on(self, here: Path) -> None:
        shutil.rmtree("data/probe")
        shutil.copytree("data/pool", "data/probe")
        assert "data/probe/faces.zarr: this student was trained on it" in self.refused(
            RUN.as_posix()
        )

    def test_no_probe_or_no_training_faces(self, here: Path) -> None:
        shutil.rmtree("data/pool")
        assert "export with --int8 dynamic or none" in self.refused(RUN.as_posix())
        shutil.rmtree("data/probe")
        assert "data/probe/faces.zarr: this store does not exist" in self.refused(
            RUN.as_posix(), "--int8", "dynamic"
        )
        command(RUN.as_posix(), "--int8", "none", "--out", "alone")
        export = Export.read(Path("alone"))
        assert export.int8 is None and set(export.files) == {WEIGHTS, FLOAT}
        assert all(store.num_rows is None for store in export.stores)

    def test_an_unknown_frame(self, here: Path) -> None:
        student = load_student(RUN)
        card = replace(student.card, frame="passport-photo")
        save_student(RUN / FILE, student.network, card)
        assert "unknown frame 'passport-photo'; valid names: arcface112" in self.refused(
            RUN.as_posix()
        )

    def test_a_damaged_list_of_stores(self, here: Path) -> None:
        student = load_student(RUN)
        save_student(RUN / FILE, student.network, replace(student.card, stores="[1]"))
        assert "list of stores is damaged" in self.refused(RUN.as_posix())

    def test_a_place_that_is_taken(self, here: Path) -> None:
        Path("mine").mkdir()
        Path("mine/notes.txt").write_text("mine")
        assert "mine: holds other files, and no export" in self.refused(
            RUN.as_posix(), "--out", "mine"
        )
        assert "notes.txt: a file; name a folder" in self.refused(
            RUN.as_posix(), "--out", "mine/notes.txt"
        )
        assert Path("mine/notes.txt").read_text() == "mine"
        check_output(OUT)  # an earlier export makes room

    def test_a_card_that_its_export_left_behind(self, here: Path) -> None:
        Path("old").mkdir()
        for name in (JSON, MARKDOWN):
            (Path("old") / name).write_text("{}")
        check_output(Path("old"))
        (Path("old") / "notes.txt").touch()
        with pytest.raises(InputError, match="holds other files"):
            check_output(Path("old"))

    def test_missing_packages(self, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        found = importlib.import_module

        def without(name: str) -> Any:
            if name == "onnxscript":
                raise ImportError(name)
            return found(name)

        monkeypatch.setattr(importlib, "import_module", without)
        assert "needs the package onnxscript" in self.refused(RUN.as_posix())

    def test_unknown_choices(self, here: Path) -> None:
        assert "invalid choice: 'float64'" in self.refused(RUN.as_posix(), "--pixels", "float64")
        assert "invalid choice: 'best'" in self.refused(RUN.as_posix(), "--int8", "best")
