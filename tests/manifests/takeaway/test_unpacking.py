"""A file that holds no round is refused in one line, and leaves nothing behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.takeaway.unpacking import import_round
from tests.packed import (
    BAD,
    DIM,
    FEW,
    GOOD,
    ROUND,
    SIZE,
    Change,
    forge,
    packed,
    refused,
    swap,
    text,
)

COUNT = 70


@pytest.fixture(scope="module", autouse=True)
def folder() -> Iterator[None]:
    with packed(COUNT):
        yield


def test_a_forged_file_without_a_change_is_taken() -> None:
    forge(lambda file, values: None)
    import_round(BAD, FEW)
    shutil.rmtree(layout.faces(FEW).parent)
    layout.manifest(FEW).unlink()


def contents(**changes: Any) -> Change:
    return lambda file, values: values.update(changes)


def recipe(**changes: Any) -> Change:
    return lambda file, values: values["recipe"].update(changes)


def without(*names: str) -> Change:
    def change(file: h5py.File, values: dict[str, Any]) -> None:
        for name in names:
            del file[name], values["datasets"][name]

    return change


def paper(name: str, words: str | Callable[[str], str]) -> Change:
    def change(file: h5py.File, values: dict[str, Any]) -> None:
        before = file[name][0].decode()
        swap(name, text(words if isinstance(words, str) else words(before)))(file, values)

    return change


def edited(name: str, edit: Callable[[np.ndarray], object]) -> Change:
    def change(file: h5py.File, values: dict[str, Any]) -> None:
        rows = file[name][:]
        edit(rows)
        file[name][:] = rows

    return change


def zero(rows: np.ndarray) -> None:
    rows[:] = 0


EVERY = {"faces": 64, "teachers/arc-2": 64, "teachers/toy": 64}
DEEP = "[" * 100 + "]" * 100
NO_MEAN = json.dumps({"spread": 1.0})
OTHER_KIND = np.zeros((COUNT, SIZE, SIZE, 3), np.float32)
NARROW = np.zeros((COUNT, 2, DIM), np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (contents(schema="facestill-takeaway-9"), "of schema 'facestill-takeaway-9'"),
        (contents(more=1), "unknown key 'more'"),
        (contents(task_rows={**EVERY, "\x1b[2J": 64}), "not those of a face store"),
        (contents(task_rows={**EVERY, "\x1b[2J": ""}), r"\?\[2J"),
        (contents(task_rows={**EVERY, "faces": 0}), "images is no array of ours"),
        (contents(task_rows={**EVERY, "faces": 63}), "images is no array of ours"),
        (contents(task_rows={**EVERY, "faces": (1 << 31) - 1}), "images is no array of ours"),
        (contents(task_rows={**EVERY, "teachers/toy": (1 << 31) - 1}), "is no array of ours"),
        (contents(task_rows={"faces": 64}), "not those of a face store"),
        (contents(manifest_digest="0" * 64), "do not have the digest"),
        (recipe(round="probe"), "faces of round 'probe', expected those of 'few/pool'"),
        (recipe(latent_width=(1 << 31) - 1), "latents are 2147483647-d"),
        (recipe(latent_width=5), r"column latent is <f4 \(70, 4\), expected <f4 \(70, 5\)"),
        (recipe(psi="high"), "psi"),
        (recipe(noise_mode="\ud800"), "do not have the digest"),
        (recipe(generator="other"), "generator 'toy-generator', expected one of"),
        (without("manifest/law", "valid/law"), "does not have the columns"),
        (without("faces/reason"), "faces/reason is not uint8 in 1 dimensions"),
        (without("papers/faces/passport"), "does not hold passport and attributes"),
        (swap("manifest/seed", np.zeros(COUNT, np.int32)), "column seed is <i4"),
        (swap("manifest/seed", np.zeros(COUNT - 1, np.int64)), r"column seed is <i8 \(69,\)"),
        (swap("faces/ok", np.ones(COUNT - 1, bool)), "faces/ok has 69 rows, its manifest 70"),
        (swap("faces/images", OTHER_KIND), "faces/images is not uint8 in 4 dimensions"),
        (swap("teachers/toy/embeddings", NARROW), "embeddings is not float16"),
        (swap("faces/wide", np.zeros((COUNT, 5000), np.float32)), "faces/wide is no array"),
        (edited("manifest/face_id", lambda rows: rows[::-1].sort()), "unsorted face_id"),
        (edited("manifest/latent", lambda rows: rows.fill(np.nan)), "latent is not finite"),
        (edited("manifest/generator", lambda rows: rows.fill(b"\xff\xfe")), "no manifest"),
        (edited("valid/seed", lambda rows: rows.fill(False)), "do not have the digest"),
        (edited("faces/ok", lambda rows: rows.view(np.uint8).fill(7)), "neither true nor false"),
        (edited("faces/ok", zero), "usable for a reason, or failed for none"),
        (edited("faces/reason", lambda rows: rows.fill(9)), "usable for a reason"),
        (edited("teachers/toy/norms", zero), "usable in one of faces and embeddings"),
        (edited("teachers/toy/embeddings", lambda rows: rows.fill(np.inf)), "usable in one"),
        (paper("papers/faces/passport", "{}"), "not a passport"),
        (paper("papers/faces/passport", lambda words: words.replace("pool", "p00l")), "passport"),
        (paper("papers/faces/ledger", "{}\n"), "not a ledger line"),
        (paper("papers/faces/ledger", "\n"), "not a ledger line"),
        (paper("papers/faces/ledger", lambda words: words.split("\n")[0] + "\n"), "does not count"),
        (paper("papers/faces/attributes", "{"), "attributes: not JSON"),
        (paper("papers/faces/attributes", DEEP), "nested deeper"),
        (paper("papers/faces/attributes", '{"frame": NaN}'), "attributes: not JSON"),
        (paper("papers/faces/attributes", "[]"), "expected a mapping"),
        (paper("papers/faces/attributes", "{}"), "its frame None does not fit"),
        (paper("papers/teachers/toy/attributes", NO_MEAN), "its mean is not 6 finite numbers"),
    ],
)
def test_a_file_that_holds_no_round(change: Change, message: str) -> None:
    forge(change)
    refused(message)


def test_there_is_a_round_already() -> None:
    with pytest.raises(InputError, match=r"pool\.parquet: round pool is there already"):
        import_round(GOOD, ROUND)
    layout.faces(FEW).parent.mkdir(parents=True)
    with pytest.raises(InputError, match=r"data/few/pool: round few/pool is there already"):
        import_round(GOOD, FEW)
    shutil.rmtree(layout.faces(FEW).parent)


def test_a_folder_is_answered_with_the_files_in_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a folder, .*only hdf5 becomes a round again"):
        import_round(tmp_path, FEW)
    (tmp_path / "one.h5").touch()
    with pytest.raises(InputError, match=r"a folder, .*; name .*one\.h5"):
        import_round(tmp_path, FEW)


@pytest.mark.parametrize("name", ["../pool", "a/b/pool", "", "/pool"])
def test_a_name_leads_nowhere_else(name: str) -> None:
    with pytest.raises(InputError, match="a name has letters"):
        import_round(GOOD, name)


def test_nothing_is_left_if_it_cannot_be_put_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(finished: Path, output: Path) -> None:
        output.mkdir(parents=True)
        raise OSError("no space left")

    monkeypatch.setattr("manifests.takeaway.unpacking.deliver", fail)
    with pytest.raises(OSError, match="no space left"):
        import_round(GOOD, FEW)
    assert not layout.manifest(FEW).exists()
    assert not layout.faces(FEW).parent.exists()
