"""Every kind: the same bytes however it came about, and nothing by halves."""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.core import layout
from manifests.core.digests import folder_hashes
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.stores.latents import LatentManifest
from manifests.stores.rounds import open_faces
from manifests.takeaway import blocks, delivering
from manifests.takeaway.delivering import KINDS, pack_round
from tests.packed import ROUND, checkout, make_round

COUNT, PART_ROWS = 100, 16
OUT, SAME = Path("out"), Path("same")
each_kind = pytest.mark.parametrize("kind", sorted(KINDS))


@pytest.fixture(scope="module", autouse=True)
def source() -> Iterator[None]:
    with checkout(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "PART_ROWS", PART_ROWS)
        make_round(COUNT)
        yield


@pytest.fixture(autouse=True)
def clean(source: None) -> Iterator[None]:
    yield
    for path in (OUT, SAME, layout.WORK):
        shutil.rmtree(path, ignore_errors=True)


def stop_at(number: int, patch: pytest.MonkeyPatch) -> list[int]:
    """Has the next take-away end when it comes to this part; returns those that were made."""
    made: list[int] = []
    make = delivering._make_part

    def make_or_stop(kind: Any, part: Any, *args: Any) -> None:
        if part.number == number:
            raise KeyboardInterrupt
        make(kind, part, *args)
        made.append(part.number)

    patch.setattr(delivering, "_make_part", make_or_stop)
    return made


def interrupt(kind: str, number: int) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(number, patch)
        pack_round(ROUND, OUT, kind)
    assert not OUT.exists()


@each_kind
def test_stopped_and_run_again_it_goes_on_to_the_same_bytes(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack_round(ROUND, SAME, kind)
    interrupt(kind, 1)
    made = stop_at(-1, monkeypatch)
    pack_round(ROUND, OUT, kind)
    assert made[0] == 1 and 0 not in made
    assert folder_hashes(OUT) == folder_hashes(SAME)
    assert not [path for path in (layout.WORK / "pack").iterdir() if path.is_dir()]


@each_kind
def test_a_damaged_part_is_made_again(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pack_round(ROUND, SAME, kind)
    interrupt(kind, 2)
    (work,) = (path for path in (layout.WORK / "pack").iterdir() if path.is_dir())
    files = [*work.rglob("*.tar"), *work.rglob("*.png"), *work.rglob("records-00001")]
    damaged = max(files or work.rglob("train-00001*"))
    (damaged.parent / f".{damaged.name}.1.tmp").write_bytes(b"of a killed process")
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    made = stop_at(-1, monkeypatch)
    pack_round(ROUND, OUT, kind)
    assert len(made) == len(blocks.plan_parts(pack_count(SAME))) - 1
    assert folder_hashes(OUT) == folder_hashes(SAME)


def pack_count(folder: Path) -> int:
    return int(read_json(folder / "pack.json")["num_rows"])


@each_kind
def test_what_is_read_back_otherwise_does_not_count(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[type(KINDS[kind]).__module__]
    encode = module.encode  # type: ignore[attr-defined]

    def one_pixel_off(images: np.ndarray) -> list[bytes]:
        changed = images.copy()
        changed[-1, -1, -1, -1] ^= 1
        return encode(changed)

    monkeypatch.setattr(module, "encode", one_pixel_off)
    with pytest.raises(InputError, match=r"part 0 is read back otherwise .*; look after the disk"):
        pack_round(ROUND, OUT, kind)
    assert not OUT.exists()


@pytest.mark.parametrize("selection", ["::7", "-5:", "ok", "faces.txt", "20:21"])
def test_rows_may_be_chosen(selection: str) -> None:
    manifest, faces = open_faces(ROUND)
    assert manifest is not None
    Path("faces.txt").write_text("\n".join(str(manifest.face_id[row]) for row in (58, 3, 30, 3)))
    slices = {"::7": slice(None, None, 7), "-5:": slice(-5, None), "20:21": slice(20, 21)}
    wanted = {"ok": np.flatnonzero(faces.ok()), "faces.txt": np.array([3, 30, 58])}
    wanted |= {name: np.arange(COUNT)[each] for name, each in slices.items()}
    found = pack_round(ROUND, OUT, "parquet", selection=selection)
    table = pq.read_table(OUT / "data")
    assert table["row"].to_pylist() == wanted[selection].tolist()
    assert (found.num_rows, found.num_source_rows) == (table.num_rows, COUNT)


@pytest.mark.parametrize("teachers", [[], ["toy"], ["toy", "arc-2", "toy"]])
def test_teachers_may_be_chosen(teachers: list[str]) -> None:
    pack_round(ROUND, OUT, "parquet", teachers=teachers)
    columns = {name for name in pq.read_schema(OUT / "data/train-00000-of-00007.parquet").names}
    found = {name.split("_", 2)[2] for name in columns if name.startswith("embedding_")}
    assert found == set(teachers)
    assert {path.stem for path in OUT.glob("passports/teachers/*")} == set(teachers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"selection": "0:0"}, "rows chosen are none; see --rows"),
        ({"selection": "nine"}, "no such file, and not all, ok or a slice"),
        ({"teachers": ["nobody"]}, "does not exist; run `facestill embed "),
        ({"teachers": ["../toy"]}, "a name has letters"),
    ],
)
def test_bad_input_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        pack_round(ROUND, OUT, "parquet", **options)
    assert "\n" not in str(caught.value)
    assert not OUT.exists()


def test_nothing_takes_the_place_of_what_is_no_take_away() -> None:
    OUT.mkdir()
    (OUT / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds thesis.txt, which pack did not make"):
        pack_round(ROUND, OUT, "parquet")
    assert (OUT / "thesis.txt").read_text() == "mine"
    with pytest.raises(InputError, match="a file, expected the name of a folder"):
        pack_round(ROUND, OUT / "thesis.txt", "parquet")


def test_an_infinite_number_cannot_stand_in_json(monkeypatch: pytest.MonkeyPatch) -> None:
    table = LatentManifest.read(layout.manifest(ROUND)).table
    at = table.schema.get_field_index("step")
    infinite = pa.array([np.inf] * COUNT, "float32")
    made = LatentManifest(
        open_faces(ROUND)[0].recipe,  # type: ignore[union-attr]
        table.set_column(at, table.schema.field(at), infinite),
    )
    monkeypatch.setattr(delivering, "known", lambda chosen: _known(chosen, made))
    with pytest.raises(InputError, match="an infinite number, which JSON has not; pack it as"):
        pack_round(ROUND, OUT, "webdataset")


def _known(chosen: Any, manifest: LatentManifest) -> Any:
    return blocks.known(replace(chosen, manifest=manifest))


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    """The command's exit status."""
    monkeypatch.setattr(sys, "argv", ["pack", ROUND, *words])
    monkeypatch.delitem(sys.modules, "manifests.pack", raising=False)  # of another test
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("manifests.pack", run_name="__main__")
    return ended.value.code


def test_the_command_says_what_to_do_next(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--to", "parquet", "--rows", "0:20", "--out", "out"]
    assert run(monkeypatch, *asked) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("out: 20 of 100 rows; teachers: arc-2, toy; 9 files, ")
    assert last == 'next: datasets.load_dataset("./out") reads it'
    assert run(monkeypatch, *asked) == 2
    assert "out: is there already; name another place" in capsys.readouterr().err
    assert run(monkeypatch, *asked, "--force") == 0
    assert run(monkeypatch, "--to", "mp3", "--out", "out") == 2
    assert "invalid choice: 'mp3'" in capsys.readouterr().err
    assert run(monkeypatch, "--out", "out.h5") == 0
    assert f"elsewhere, facestill unpack out.h5 TEAM/{ROUND}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["thesis.txt", "data/thesis.txt", ".git/HEAD"])
def test_what_pack_did_not_make_stays(name: str) -> None:
    """A folder may hold a pack.json, even ours, and somebody's work."""
    for made in (False, True):
        if made:
            pack_round(ROUND, OUT, "parquet")
        (OUT / name).parent.mkdir(parents=True, exist_ok=True)
        (OUT / name).write_text("years of work")
        (OUT / "pack.json").touch()
        with pytest.raises(InputError, match="which pack did not make; move it away"):
            pack_round(ROUND, OUT, "parquet")
        assert (OUT / name).read_text() == "years of work"
        shutil.rmtree(OUT)


def test_nothing_takes_the_place_of_where_one_stands() -> None:
    for here in (Path(), Path("/")):
        with pytest.raises(InputError, match=r"name a folder that pack is to make|which pack did"):
            pack_round(ROUND, here, "parquet")
