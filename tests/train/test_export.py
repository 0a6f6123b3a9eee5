"""Exports: every student's files give the student's embeddings, and cost what the record says."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from eval.models import load_model
from manifests import layout
from manifests.digests import folder_hashes
from manifests.errors import InputError
from manifests.exports import FLOAT, INT8, LATENCY, RECORD, WEIGHTS, Export
from manifests.files import put, read_json, write_json
from manifests.stores import FaceStore
from pipeline.frames import Frame, to_frame
from pipeline.onnx_files import open_network
from tests.exports import RUN, make_trained_run
from tests.toys import make_round
from train.checkpoint import FILE, LOG, load_student, save_student
from train.export import check_output, export_run, main
from train.exporting.faces import blocks_of, crops, evenly, num_faces
from train.exporting.facts import training_facts
from train.exporting.graph import PICTURES, WithPreprocessing, declared, to_onnx
from train.exporting.int8 import PRODUCTS, static_int8
from train.exporting.request import Request, open_request
from train.exporting.running import (
    TOLERANCE,
    check_parity,
    cosines,
    runner,
    some_pictures,
    torch_runner,
)
from train.students import build_student, student_names

OUT = Path("runs/exports/start")
FILES = {WEIGHTS, FLOAT, INT8, RECORD, LATENCY, "MODEL_CARD.md", "model_card.json"}


def command(*arguments: str) -> None:
    with mock.patch.object(sys, "argv", ["train.export", *arguments]):
        main()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and its export, as the command makes it."""
    folder = tmp_path_factory.mktemp("exported")
    with chdir(folder):
        make_trained_run()
        command(RUN.as_posix())
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that a test may spoil, as the current folder."""
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def inside(made: Path) -> Iterator[Path]:
    """The folder itself, which a test leaves as it is."""
    with chdir(made):
        yield made


def settled(name: str, projected: int | None) -> torch.nn.Module:
    """A student of random weights whose normalisation has seen pictures, as after training."""
    torch.manual_seed(0)
    network = build_student(
        name, input_size=64, width=0.25, embedding_width=16, projected_from=projected
    )
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = None
    with torch.no_grad():
        network.train()(some_pictures(16, 64))
    return network.eval().requires_grad_(False)


def smallest_of_each_family() -> list[str]:
    """Variants of a family share their code; the smallest one is the quickest to trace."""
    families: dict[str, list[tuple[int, str]]] = {}
    for name in student_names():
        with torch.device("meta"):
            network = build_student(
                name, input_size=64, width=0.25, embedding_width=16, projected_from=own_width(name)
            )
        families.setdefault(name.split("-")[0], []).append((len(list(network.modules())), name))
    return [min(variants)[1] for variants in families.values()]


def own_width(name: str) -> int | None:
    """PocketNets have embeddings of the width in their names, and a projection after it."""
    return int(name[-3:]) if name.startswith("pocketnet") else None


@pytest.mark.parametrize("name", smallest_of_each_family())
def test_every_student_keeps_its_embeddings_in_its_files(name: str) -> None:
    network = settled(name, own_width(name))
    model = to_onnx(network, 64, "float32")
    data = declared(model, {}, {})
    largest = check_parity(data, network, 64, "float32").largest
    assert len(largest) == 6 and max(largest.values()) < TOLERANCE / 2
    pictures = some_pictures(48, 64)
    int8 = declared(static_int8(model, [pictures[:32].numpy()]), {}, {})
    assert len(int8) < len(data)
    with torch.inference_mode():
        found = cosines(torch_runner(network), runner(int8, "float32"), [pictures])
    assert found.shape == (48, 2) and found.mean() > 0.8  # of random weights


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("size", [(32, 32), (112, 112), (40, 25)])
def test_pictures_of_any_number_and_size_are_taken(
    inside: Path, batch: int, size: tuple[int, int]
) -> None:
    student = load_student(RUN)
    pictures = torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(1)) * 255
    session = onnxruntime.InferenceSession(str(OUT / FLOAT), providers=["CPUExecutionProvider"])
    (rows,) = session.run(None, {PICTURES: pictures.numpy()})
    resized = torch.nn.functional.interpolate(pictures, (32, 32), mode="bilinear", antialias=True)
    np.testing.assert_allclose(rows, student.network(resized).numpy(), rtol=1e-3, atol=1e-5)


def test_the_commands_folder_holds_what_it_promises(inside: Path) -> None:
    assert {path.name for path in OUT.iterdir()} == FILES
    export, student = Export.read(OUT), load_student(RUN)
    assert (export.run, export.student.sha256) == ("start", student.sha256)
    assert set(export.files) == {WEIGHTS, FLOAT, INT8}
    assert load_student(OUT).sha256 == student.sha256  # an export is a run directory too
    latency = read_json(OUT / LATENCY)
    assert set(latency["milliseconds"]) == {"torch", FLOAT, INT8}
    assert all(spent > 0 for spent in latency["milliseconds"].values())


def test_the_record_repeats_the_log_and_the_passports(inside: Path) -> None:
    export, log = Export.read(OUT), read_json(RUN / LOG)
    assert export.training.num_faces == log["num_faces"]
    assert export.training.rounds == ("pool",)
    assert export.training.recipe["learning_rate"] == str(log["params"]["learning_rate"])
    assert export.student.num_params == log["student"]["num_params"]
    faces, teacher = export.stores
    stores = json.loads(load_student(RUN).card.stores)
    assert {own.path: own.root for own in export.stores} == stores
    assert (faces.made_by, faces.num_rows, faces.num_imported) == ("toy-generator", 150, 0)
    assert teacher.num_imported is None and teacher.licences == {"toy-generator": "CC0-1.0"}


def test_a_log_may_have_a_header(inside: Path) -> None:
    log = read_json(RUN / LOG)
    version = log.pop("torch", None) or log["header"].pop("torch")
    log["header"] = {**log.get("header", {}), "torch": version}
    assert training_facts(log) == Export.read(OUT).training


def test_a_file_is_the_student_to_everything_that_measures(inside: Path) -> None:
    run, exported = (load_model(name, layout.WEIGHTS) for name in (str(RUN), f"onnx:{OUT / FLOAT}"))
    assert (exported.frame, exported.metric, exported.mirrored) == (run.frame, run.metric, True)
    crops = some_pictures(70, 32)
    np.testing.assert_allclose(exported.embed(crops), run.embed(crops), atol=1e-5)
    declared = open_network(OUT / INT8).declared.values
    assert declared["name"] == f"small-resnet-{run.sha256[:8]}-int8"
    assert declared["licence"] == "made with toy-generator: CC0-1.0"


def test_an_export_is_the_same_bytes_every_time(here: Path) -> None:
    before = folder_hashes(OUT, leave_out=[LATENCY])
    shutil.rmtree(layout.WORK)
    command(RUN.as_posix())
    assert folder_hashes(OUT, leave_out=[LATENCY]) == before


def test_a_file_says_nothing_of_the_machine_that_made_it(inside: Path) -> None:
    for name in (FLOAT, INT8):
        data = (OUT / name).read_bytes()
        assert not any(word in data for word in (b"/site-packages", b"stack_trace", b".py"))
        model = onnx.load(OUT / name)
        facts = {item.key: item.value for item in model.metadata_props}
        assert facts["student_sha256"] == load_student(RUN).sha256
        assert (model.producer_name, model.producer_version) == ("facestill", "")


def test_a_finished_export_is_put_in_place_again(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = folder_hashes(OUT)
    monkeypatch.setattr("train.export.make", None)
    shutil.rmtree(OUT)
    command(RUN.as_posix())
    assert folder_hashes(OUT) == before


def test_a_damaged_finished_export_is_made_again(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = open_request(RUN, "float32", "static")
    sound = {path.name: path.read_bytes() for path in request.work.iterdir()}
    (request.work / FLOAT).unlink()
    (request.work / FLOAT).write_bytes(sound[FLOAT][:-1])

    def make(_: Request, folder: Path) -> None:
        put(folder / FLOAT, sound[FLOAT])

    monkeypatch.setattr("train.export.make", make)
    export_run(request, OUT)
    assert (OUT / FLOAT).read_bytes() == sound[FLOAT]


def test_the_cost_of_8_bits_by_hand(inside: Path) -> None:
    """One face at a time, cosines in NumPy."""
    cost = Export.read(OUT).int8
    assert cost is not None and cost.method == "static"
    probe, student = FaceStore.open(layout.faces("probe")), load_student(RUN)
    session = onnxruntime.InferenceSession(str(OUT / INT8), providers=["CPUExecutionProvider"])
    found = []
    for row in map(int, np.flatnonzero(probe.ok())):
        image = torch.from_numpy(probe.images(row, row + 1)).permute(0, 3, 1, 2).float()
        crop = to_frame(image, Frame(**probe.frame), student.card.input_frame)
        for view in (crop, crop.flip(3)):
            a = student.network(view).numpy()[0].astype(float)
            b = session.run(None, {PICTURES: view.numpy()})[0][0].astype(float)
            found.append(a @ b / np.sqrt((a @ a) * (b @ b)))
    assert cost.num_faces * 2 == len(found)
    assert cost.cosine_mean == pytest.approx(np.mean(found), abs=1e-5)
    assert cost.cosine_least == pytest.approx(min(found), abs=1e-5)
    assert cost.cosine_least <= cost.cosine_p01 <= cost.cosine_mean


def test_weights_have_8_bits_but_at_both_ends(inside: Path) -> None:
    model = onnx.load(OUT / INT8)
    types = {own.name: own.data_type for own in model.graph.initializer}
    made_by = {name: node for node in model.graph.node for name in node.output}

    def bits(node: Any) -> int:
        source = made_by.get(node.input[1])
        name = source.input[0] if source is not None else node.input[1]
        return {onnx.TensorProto.INT8: 8, onnx.TensorProto.FLOAT: 32}[types[name]]

    products = [node for node in model.graph.node if node.op_type in ("Conv", *PRODUCTS)]
    assert [bits(node) for node in products] == [32, *[8] * (len(products) - 2), 32]
    small, large = ((OUT / name).stat().st_size for name in (INT8, FLOAT))
    assert small < 0.5 * large


def test_calibration_takes_usable_training_faces_alone(inside: Path) -> None:
    export = Export.read(OUT)
    pool = FaceStore.open(layout.faces("pool"))
    assert export.int8 is not None
    assert export.int8.calibrated_on == {pool.path.as_posix(): int(pool.ok().sum())}
    frame = load_student(RUN).card.input_frame
    blocks = blocks_of([pool])
    given = torch.cat(list(crops(blocks, frame)))
    images = torch.from_numpy(pool.images(0, 150)[pool.ok()]).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(given, to_frame(images, Frame(**pool.frame), frame))
    assert [num_faces(block) for block in blocks] == [
        int(pool.ok()[at : at + 64].sum()) for at in (0, 64, 128)
    ]


def test_blocks_are_taken_at_even_spacing() -> None:
    assert evenly(range(9), 3) == [0, 4, 8]
    assert evenly(range(3), 4) == [0, 1, 2]
    assert evenly([], 4) == []


def test_whole_pixels_may_be_fed_as_bytes(here: Path) -> None:
    command(RUN.as_posix(), "--pixels", "uint8", "--out", "bytes", "--int8", "dynamic")
    pictures = some_pictures(9, 32).round()
    float_file, byte_file = (
        load_model(f"onnx:{folder / FLOAT}", layout.WEIGHTS) for folder in (OUT, Path("bytes"))
    )
    np.testing.assert_allclose(byte_file.embed(pictures), float_file.embed(pictures), atol=1e-6)
    cost = Export.read(Path("bytes")).int8
    assert cost is not None and (cost.method, cost.calibrated_on) == ("dynamic", {})
    assert cost.cosine_mean > 0.99


def test_a_file_of_another_network_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = load_student(RUN)
    data = (OUT / FLOAT).read_bytes()
    with torch.no_grad():
        student.network[-1].weight[0, 0] += 0.1
    with pytest.raises(InputError, match=r"off by .* for pictures .*; nothing was exported"):
        check_parity(data, student.network, 32, "float32")
    wrong = onnx.load(OUT / FLOAT)
    (bias,) = [own for own in wrong.graph.initializer if own.name.endswith("13.bias")]
    bias.raw_data = np.roll(onnx.numpy_helper.to_array(bias), 1).tobytes()
    monkeypatch.setattr("train.exporting.making.to_onnx", lambda *_: wrong)
    with pytest.raises(InputError, match="nothing was exported"):
        command(RUN.as_posix(), "--int8", "none", "--out", "elsewhere")
    assert not Path("elsewhere").exists()


def test_preprocessing_leaves_pictures_of_the_students_size_alone() -> None:
    pictures = some_pictures(2, 32)
    module = WithPreprocessing(torch.nn.Flatten(), 32)
    assert torch.equal(module(pictures), pictures.flatten(1))


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
        write_json(RUN / LOG, {"student": {"sha256": "0" * 64}})
        assert "log.json: not the log of a run ('params')" in self.refused(RUN.as_posix())

    @staticmethod
    def own(path: Path) -> Path:
        """The file as a copy, so that nothing hard-linked to it changes."""
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
        return path

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
