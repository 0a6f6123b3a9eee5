"""From a table of labels to attributes of a store: the command, and the annotator that it makes."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from eval import annotate, annotators, heads
from eval.annotators import load_annotator
from eval.annotators.base import Annotator
from eval.annotators.heads import HeadsAnnotator
from eval.attributes import head_training
from eval.attributes.head_files import load_heads, save_heads
from eval.attributes.head_networks import Heads, probabilities
from eval.attributes.labels import read_labels
from eval.photos.photo_sets import open_photographs
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.records.attributes import AttributeTable
from manifests.settings.heads import DEFAULTS
from manifests.stores.latents import LatentManifest
from manifests.stores.passport import Fingerprint
from manifests.stores.reading import FaceStore
from pipeline.aligners.base import Aligner
from pipeline.arrays.frames import ARCFACE112
from pipeline.teachers import load_teacher
from pipeline.teachers.base import Teacher
from tests.conftest import ROOT
from tests.contracts import AnnotatorContract
from tests.eval.attributes.test_head_networks import passport
from tests.toys import EMBEDDING_WIDTH, PASSPORT, make_round, toy_teacher

COUNT = 500


class ToyTeacher(Teacher):
    """Embeds a picture as colours of some of its places."""

    name, weights_sha256, frame = "toy", "5" * 64, ARCFACE112.at(28)
    width, metric, preprocessing, licence = EMBEDDING_WIDTH, "cosine", "none", "CC0-1.0"

    def embed(self, images: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images, 3).flatten(1)[:, : self.width] / 255

    def to(self, device: torch.device) -> None:
        """Nothing to move."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A round that the toy teacher embedded, and a table of two of its faces' attributes."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.setattr(head_training, "load_teacher", lambda name, weights: ToyTeacher())
    embed_round()
    ids = LatentManifest.read(layout.manifest("pool")).face_id
    told = embeddings()[:, 0]
    rows = [
        f"{ids[i]},p{i // 2},{1 if told[i] > 0 else -1},{1 - 2 * (i % 2)}" for i in range(COUNT)
    ]
    Path("labels.csv").write_text("\n".join(["face_id,subject,Smiling,Bald", *rows]))
    return tmp_path


def embeddings() -> np.ndarray:
    rows = np.random.default_rng(4).standard_normal((COUNT, 2, EMBEDDING_WIDTH)).astype(np.float32)
    return rows[:, 0]


def embed_round(**changes: str) -> None:
    faces, _ = make_round("pool", COUNT)
    identity = ToyTeacher().identity() | changes
    card = replace(
        PASSPORT, round="pool", manifest_digest=faces.passport.manifest_digest,
        fingerprint=Fingerprint(identity, {"batch": 64}),
    )  # fmt: skip
    both = np.stack([embeddings(), -embeddings()], axis=1)
    both[~faces.ok()] = np.nan
    path = layout.teacher("pool", "toy")
    shutil.rmtree(path)
    toy_teacher(path, both, faces_root=faces.root, passport=card)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    quick = ["--architecture", "linear", "--learning-rate", "0.05", "--batch", "64"]
    monkeypatch.setattr(sys, "argv", ["heads", *quick, "--teacher", "toy", *arguments])
    heads.main()


def test_labels_of_a_store_become_attributes_of_a_store(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "labels.csv", "--faces", "pool", "--out", "out/smiles.safetensors")
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Smiling: balanced accuracy 0.9") and said[0].endswith(", used")
    assert "Bald" in said[1] and "not used" in said[1]
    assert said[2] == 'out/smiles.safetensors: 1 of 2 heads used (linear on "toy")'
    found, card, _ = load_heads(Path("out/smiles.safetensors"))
    assert card.used == ("Smiling",)
    assert card.faces["digest"] == FaceStore.open(layout.faces("pool")).root
    assert card.labels["rows"] == COUNT and card.labels["people"] <= COUNT // 2
    assert card.labels["defined"] == {
        "Smiling": card.labels["embedded"],
        "Bald": card.labels["embedded"],
    }

    monkeypatch.setattr(
        sys, "argv", ["annotate", "pool", "--annotator", "heads:out/smiles.safetensors"]
    )
    annotate.main()
    table = AttributeTable.read(layout.attributes("pool", "heads-smiles"))
    ok = FaceStore.open(layout.faces("pool")).ok()
    assert (~np.isnan(table.column("Smiling"))).tolist() == ok.tolist()
    stored = embeddings().astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(table.values[ok, 0], probabilities(found, stored)[ok, 0])
    assert ((table.column("Smiling")[ok] >= 0.5) == (embeddings()[ok, 0] > 0)).mean() > 0.95


def test_the_same_table_gives_the_same_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.safetensors", "b.safetensors"):
        run(monkeypatch, "labels.csv", "--faces", "pool", "--out", name)
    assert Path("a.safetensors").read_bytes() == Path("b.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("table", "faces", "more", "message"),
    [
        ("labels", "pool", ["--attributes", "Goatee"], "no attribute 'Goatee'; it has Smiling"),
        ("labels", "orl", [], "labels faces by face_id; of orl they are named by image"),
        ("images", "pool", [], "labels faces by image; of pool they are named by face_id"),
        ("strangers", "pool", [], "face '17' is not in store data/pool/faces.zarr"),
        ("few", "pool", [], r"few.csv: \d labelled faces with an embedding, 100 are needed"),
        ("one", "pool", [], "all faces are of one person; nobody to hold out"),
        ("labels", "nowhere", [], "nowhere/faces.zarr: this store does not exist"),
        (
            "labels",
            "pool",
            ["--floor", "0.3"],
            "heads: floor: 0.3, expected 0.5 to 1",
        ),
        ("labels", "pool", ["--batch", "1"], "batch: 1, expected 2 to 1048576"),
        ("labels", "pool", ["--learning-rate", "nan"], "learning_rate: nan is not a finite"),
        (
            "labels",
            "pool",
            ["--architecture", "vit"],
            "architecture: 'vit', expected one of mac",
        ),
        ("nowhere", "pool", [], "nowhere.csv: no such file; name a CSV"),
    ],
)
def test_bad_input_is_one_line(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    faces: str,
    more: list[str],
    message: str,
) -> None:
    rows = Path("labels.csv").read_text().splitlines()
    Path("few.csv").write_text("\n".join(rows[:6]))
    Path("one.csv").write_text(re.sub(r",p\d+,", ",p1,", "\n".join(rows)))
    Path("strangers.csv").write_text(f"{rows[0]}\n17,p1,1,1")
    Path("images.csv").write_text("image,Smiling\na.jpg,1")
    with pytest.raises(InputError) as caught:
        run(monkeypatch, f"{table}.csv", "--faces", faces, *more, "--out", "x.safetensors")
    assert re.search(message, str(caught.value))
    assert not Path("x.safetensors").exists()


def test_another_place_or_kind_of_file_is_refused_first(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"x\.pt: heads are written to a file that ends in"):
        run(monkeypatch, "labels.csv", "--faces", "pool", "--out", "x.pt")


def test_another_teachers_embeddings_are_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, "labels.csv", "--faces", "pool", "--out", "h.safetensors")
    embed_round(weights_sha256="6" * 64)
    message = r"toy\.zarr: its embeddings are of another teacher than the toy that heads read"
    with pytest.raises(InputError, match=message):
        annotators.annotate("pool", load_annotator("heads:h.safetensors"))
    with pytest.raises(InputError, match=message):
        run(monkeypatch, "labels.csv", "--faces", "pool", "--out", "other.safetensors")


def test_heads_read_embeddings_of_either_precision(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, "labels.csv", "--faces", "pool", "--out", "h.safetensors")
    exact = annotators.annotate("pool", load_annotator("heads:h.safetensors"))
    embed_round(precision="bfloat16")
    found = annotators.annotate("pool", load_annotator("heads:h.safetensors"))
    np.testing.assert_array_equal(found.values, exact.values)


def toy_heads(path: Path, used: tuple[str, ...] = ("Male", "Bald")) -> None:
    torch.manual_seed(0)
    made = Heads("linear", EMBEDDING_WIDTH, 2)
    card = passport(width=EMBEDDING_WIDTH, teacher=ToyTeacher().identity(), used=used)
    save_heads(path, made, card)


class TestHeads(AnnotatorContract):
    @pytest.fixture
    def annotator(self, tmp_path: Path) -> Annotator:
        toy_heads(tmp_path / "toy.safetensors")
        found = HeadsAnnotator(tmp_path / "toy.safetensors")
        found.__dict__["teacher"] = ToyTeacher()
        return found

    def test_only_heads_that_are_used_give_columns(self, tmp_path: Path) -> None:
        toy_heads(tmp_path / "toy.safetensors", used=("Bald",))
        found = HeadsAnnotator(tmp_path / "toy.safetensors")
        assert [own.name for own in found.attributes] == ["Bald"]
        rows = np.random.default_rng(0).standard_normal((5, EMBEDDING_WIDTH)).astype(np.float32)
        whole = probabilities(found.heads, rows)
        np.testing.assert_array_equal(found.annotate_embeddings(rows), whole[:, 1:])

    def test_heads_without_a_use_are_refused(self, tmp_path: Path) -> None:
        toy_heads(tmp_path / "toy.safetensors", used=())
        with pytest.raises(InputError, match="none of its heads reached the floor"):
            load_annotator(f"heads:{tmp_path / 'toy.safetensors'}")
        with pytest.raises(InputError, match="annotator heads needs a file: heads:PATH"):
            load_annotator("heads")


def test_photographs_are_embedded_by_the_real_teacher(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels of photographs, in another order than theirs; one shows nobody."""
    names = [f"s{person}/{shot}.pgm" for person in (3, 1, 2) for shot in (2, 1)]
    for name in names:
        (workspace / "album" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(workspace / "data/weights/orl" / name, workspace / "album" / name)
    (workspace / "album/nobody.pgm").write_bytes(b"P5 40 40 255\n" + bytes(1600))
    rows = [f"{name},{1 if name.startswith('s1') else -1}" for name in [*names, "nobody.pgm"]]
    Path("labels.csv").write_text("\n".join(["image,Eyeglasses", *rows]))
    monkeypatch.setattr(head_training, "FEWEST", 4)
    teacher = load_teacher("dlib-resnet", layout.WEIGHTS)
    found = head_training.open_labelled(read_labels(Path("labels.csv")), "folder:album", teacher)
    assert found.rows.tolist() == list(range(6))  # nobody has no embedding
    assert len(np.unique(found.person)) == 3  # by folder: the table names nobody
    embedded = head_training.embed_photographs(open_photographs("folder:album"), teacher)
    np.testing.assert_array_equal(found.embeddings[3], embedded[1])  # s1/1.pgm
    near, far = (np.linalg.norm(found.embeddings[0] - found.embeddings[at]) for at in (1, 2))
    assert near < far

    (workspace / "album/nobody.pgm").write_bytes(b"P5 40 40 255\n")
    labels = read_labels(Path("labels.csv"))
    with monkeypatch.context() as patched:
        patched.setattr(Aligner, "find", lambda *_, **__: pytest.fail("late"))
        with pytest.raises(InputError, match=r"nobody\.pgm: not a readable image"):
            head_training.open_labelled(labels, "folder:album", teacher)
        one = replace(labels, subject=("ada",) * len(labels.key))
        with pytest.raises(InputError, match="all faces are of one person; nobody to hold out"):
            head_training.open_labelled(one, "folder:album", teacher)

    (workspace / "album/nobody.pgm").write_bytes(b"P5 40 40 255\n" + bytes(1600))
    made, results = head_training.train_heads(found, replace(DEFAULTS, epochs=1, held_out=0.4))
    card = head_training.passport_of(found, results, teacher, teacher.name, DEFAULTS)
    save_heads(Path("h.safetensors"), made, replace(card, used=card.attributes))
    table = annotators.annotate("folder:album", load_annotator("heads:h.safetensors"))
    np.testing.assert_array_equal(table.values, probabilities(made, embedded))
    assert np.isnan(table.values[table.image.index("nobody.pgm")]).all()  # type: ignore[union-attr]
