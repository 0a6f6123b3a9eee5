"""Freezing, and that nothing but what was frozen is measured."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from eval import freeze, verify
from manifests.core.errors import InputError
from manifests.photographs.images import DECODER
from manifests.photographs.protocols import Benchmark
from tests.protocols import (
    CUT,
    CYAN,
    GROUPS,
    IMPOSTOR,
    bin_lists,
    colours,
    make_folder,
    make_rfw,
    make_templates,
    python_2_pickle,
    save,
    write_rows,
)

pytestmark = pytest.mark.usefixtures("weights_here")
Run = Callable[..., None]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command of eval in this process."""

    def call(command: Callable[[], None], *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        command()

    return call


def make_pairs(root: Path) -> Path:
    make_folder(root / "images", {"ada": 2, "bob": 2, "cyd": 2, "dan": 2})
    rows = [(0, "ada/0.png", "ada/1.png", 1), (0, "ada/0.png", "bob/0.png", 0),
            (1, "cyd/0.png", "cyd/1.png", 1), (1, "cyd/0.png", "dan/0.png", 0)]  # fmt: skip
    write_rows(root / "pairs.csv", ("fold", "left", "right", "same"), rows)
    return root


def make_bin(root: Path) -> Path:
    (root / "x.bin").write_bytes(python_2_pickle(*bin_lists(), 2))
    return root / "x.bin"


MAKERS: dict[str, Callable[[Path], Path]] = {
    "pairs": make_pairs,
    "bin": make_bin,
    "rfw": lambda root: make_rfw(root, dict.fromkeys(GROUPS, (IMPOSTOR,))),
    "templates": make_templates,
    "folder": lambda root: make_folder(root, {"ada": 3, "bob": 2, "cyd": 1, "dan": 1}),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_is_frozen_and_comes_back(
    tmp_path: Path, run: Run, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    text, out = f"{kind}:{MAKERS[kind](tmp_path / 'data')}", tmp_path / "frozen.parquet"
    run(freeze.main, text, "--out", out)
    frozen = Benchmark.read(out)
    opened = freeze.open_benchmark(text)
    assert frozen.protocol_sha256 == opened.benchmark.protocol_sha256
    assert frozen.protocol_sha256 in capsys.readouterr().out
    assert frozen.templates == opened.benchmark.templates
    assert frozen.recorded["decoder"] == DECODER
    assert frozen.recorded["subject_rule"] == opened.subject_rule
    assert (frozen.alignment == CUT.rule) == (kind == "bin")
    verify.require_frozen(opened, frozen, out)  # does not raise


def test_the_decoder_is_recorded_and_not_hashed(tmp_path: Path, run: Run) -> None:
    run(freeze.main, f"pairs:{make_pairs(tmp_path)}", "--out", tmp_path / "f.parquet")
    frozen = Benchmark.read(tmp_path / "f.parquet")
    other = Benchmark(
        frozen.name, frozen.fold, frozen.left, frozen.right, frozen.same, frozen.sha256,
        frozen.alignment, recorded={"decoder": "another"},
    )  # fmt: skip
    assert other.protocol_sha256 == frozen.protocol_sha256


def other_image(root: Path) -> None:
    save(root / "images/dan/0.png", (9, 9, 9))


def other_pair(root: Path) -> None:
    text = (root / "pairs.csv").read_text()
    (root / "pairs.csv").write_text(text.replace("cyd/0.png,dan/0.png", "cyd/1.png,dan/0.png"))


def fewer_pairs(root: Path) -> None:
    text = (root / "pairs.csv").read_text()
    (root / "pairs.csv").write_text(text + "1,cyd/0.png,ada/0.png,0\n")


def no_image(root: Path) -> None:
    (root / "images/dan/0.png").unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_image, r"f\.parquet: image dan/0\.png is not the one that was frozen"),
        (other_pair, r"first unlike pair is 3: frozen fold 1, cyd/0\.png dan/0\.png, same 0; found"
                     r" fold 1, cyd/1\.png dan/0\.png"),
        (fewer_pairs, "frozen on 4 rows, found 5; the first unlike pair is 4: frozen none; found"),
        (no_image, r"line 5: .*dan/0\.png: missing image"),
    ],
)  # fmt: skip
def test_what_was_changed_is_refused_by_name_before_measuring(
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None],
    message: str,
) -> None:
    folder, frozen = make_pairs(tmp_path / "d"), tmp_path / "f.parquet"
    run(freeze.main, f"pairs:{folder}", "--out", frozen)
    change(folder)
    arguments = ["--benchmark", f"pairs:{folder}", "--protocol", frozen, "--out", tmp_path / "out"]
    monkeypatch.setattr(verify, "load_model", lambda *_: colours())
    monkeypatch.setattr(verify, "verify_models", lambda *_: pytest.fail("measuring has begun"))
    with pytest.raises(InputError, match=message):
        run(verify.main, "--model", "colours", *arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["bin", "rfw", "templates"])
def test_changes_of_other_kinds_are_named_too(tmp_path: Path, run: Run, kind: str) -> None:
    out = tmp_path / "f.parquet"
    (tmp_path / "d").mkdir()
    place = MAKERS[kind](tmp_path / "d")
    run(freeze.main, f"{kind}:{place}", "--out", out)
    changes: dict[str, tuple[Callable[[], object], str]] = {
        "bin": (
            lambda: place.write_bytes(python_2_pickle(bin_lists()[0][::-1], bin_lists()[1], 2)),
            "image 000000 is not",
        ),
        "rfw": (
            lambda: save(place / "data/Asian/m.0/m.0_0002.jpg", CYAN),
            r"image Asian/m\.0/m\.0_0002\.jpg is not",
        ),
        "templates": (
            lambda: shutil.copy(place / "images/g.png", place / "images/r3.png"),
            r"image r3\.png is not",
        ),
    }
    change, message = changes[kind]
    change()
    with pytest.raises(InputError, match=message):
        verify.require_frozen(freeze.open_benchmark(f"{kind}:{place}"), Benchmark.read(out), out)


def test_other_media_are_another_protocol(tmp_path: Path, run: Run) -> None:
    folder, out = make_templates(tmp_path / "d"), tmp_path / "f.parquet"
    run(freeze.main, f"templates:{folder}", "--out", out)
    text = (folder / "templates.csv").read_text()
    (folder / "templates.csv").write_text(text.replace("still", "video"))
    with pytest.raises(InputError, match="first unlike media entry is 2: frozen still; found vid"):
        verify.require_frozen(
            freeze.open_benchmark(f"templates:{folder}"), Benchmark.read(out), out
        )


def test_folds_that_share_somebody_cannot_be_declared_disjoint(tmp_path: Path, run: Run) -> None:
    folder, out = make_pairs(tmp_path / "d"), tmp_path / "f.parquet"
    run(freeze.main, f"pairs:{folder}", "--disjoint", "--out", out)
    assert Benchmark.read(out).recorded["folds"] == "subject-disjoint"
    other_pair(folder)
    text = (folder / "pairs.csv").read_text()
    (folder / "pairs.csv").write_text(text.replace("dan/0.png", "ada/0.png"))
    with pytest.raises(InputError, match="ada is in folds 0 and 1, which are declared to share"):
        run(freeze.main, f"pairs:{folder}", "--disjoint", "--out", tmp_path / "g.parquet")
    assert not (tmp_path / "g.parquet").exists()


@pytest.mark.parametrize("kind", ["pairs", "templates"])
def test_a_frozen_file_that_was_changed_is_refused(tmp_path: Path, run: Run, kind: str) -> None:
    out = tmp_path / "f.parquet"
    run(freeze.main, f"{kind}:{MAKERS[kind](tmp_path / 'd')}", "--out", out)
    table = pq.read_table(out)
    pq.write_table(
        table.slice(0, len(table) - 1).replace_schema_metadata(table.schema.metadata), out
    )
    with pytest.raises(InputError, match="changed after it was made"):
        Benchmark.read(out)
    out.write_text("junk")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        Benchmark.read(out)


def test_a_place_for_no_file_is_refused_before_images_are_read(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freeze, "open_benchmark", lambda *_: pytest.fail("late"))
    with pytest.raises(InputError, match="no file can be there"):
        run(freeze.main, "orl", "--out", tmp_path)
