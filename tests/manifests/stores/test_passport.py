from __future__ import annotations

import json
from pathlib import Path

import pytest

from manifests.core.errors import InputError
from manifests.core.layout import FACES
from manifests.stores.passport import NAME, SCHEMA_VERSION, Passport
from tests.toys import PASSPORT


def test_a_passport_comes_back_as_it_was(tmp_path: Path) -> None:
    PASSPORT.write(tmp_path)
    assert Passport.read(tmp_path) == PASSPORT


def test_no_store_and_an_unfinished_store_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    with pytest.raises(InputError, match=r"begun: this store is unfinished.*, or bring it again$"):
        Passport.read(tmp_path / "begun")
    with pytest.raises(InputError, match=r"absent: this store does not exist"):
        Passport.read(tmp_path / "absent")


def test_a_mistyped_round_is_answered_with_those_that_are_here(tmp_path: Path) -> None:
    for name in ("pool", "probe"):
        (tmp_path / name / FACES).mkdir(parents=True)
    with pytest.raises(InputError, match=r"name a round that is here: pool, probe$"):
        Passport.read(tmp_path / "prob" / FACES)
    with pytest.raises(InputError, match=r"run the stage that makes it$"):
        Passport.read(tmp_path / "pool/teachers/none.zarr")
    (tmp_path / "pool/teachers/toy.zarr").mkdir(parents=True)
    with pytest.raises(InputError, match=r"name a teacher that is here: toy$"):
        Passport.read(tmp_path / "pool/teachers/none.zarr")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fingerprint": {}}'])
def test_a_passport_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(InputError, match=r"passport\.json: not a passport"):
        Passport.read(tmp_path)


@pytest.mark.parametrize("more", [{}, {"watermark": "of a later version"}], ids=["same", "more"])
def test_a_later_schema_asks_for_later_code(tmp_path: Path, more: dict[str, str]) -> None:
    PASSPORT.write(tmp_path)
    values = json.loads((tmp_path / NAME).read_text())
    later = {**values, **more, "schema_version": SCHEMA_VERSION + 1}
    (tmp_path / NAME).write_text(json.dumps(later))
    with pytest.raises(InputError, match=f"schema version {SCHEMA_VERSION + 1}"):
        Passport.read(tmp_path)
