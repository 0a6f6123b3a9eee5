"""A store from a stranger, sealed and with every digest right, cannot run code, lead out of its
folder, hang a reader or fill its memory: it is refused in one error, and verify reports it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from manifests.building.ledger import LARGEST as LARGEST_LEDGER
from manifests.building.ledger import NAME as LEDGER
from manifests.check import find_faults
from manifests.core import layout
from manifests.core.digests import table_digest
from manifests.core.errors import InputError
from manifests.core.files import parse_json
from manifests.core.tables import KEY
from manifests.stores.latents import LatentManifest
from manifests.stores.metadata import METADATA
from manifests.stores.passport import NAME as PASSPORT
from tests.hostile_stores import (
    ROWS,
    check_refused,
    nested,
    put,
    read_everything,
    reseal,
    within_bounds,
)
from tests.toys import toy_manifest

SHARD = "images/c/1/0/0/0"


def test_stores_are_sound_before_they_are_forged(stores: Path) -> None:
    with within_bounds():
        read_everything(stores)
        assert not find_faults(stores / "faces.zarr")
        assert not find_faults(stores / "teachers/toy.zarr")


PASSPORTS: dict[str, dict[str, Any]] = {
    "round leads out": {"round": "../../outside"},
    "round of control characters": {"round": "\x1b[2J"},
    "round of a lone surrogate": {"round": "\ud800"},
    "round without end": {"round": "x" * 100_000},
    "kind of no store": {"kind": "../faces"},
    "more rows than anything": {"num_rows": 10**15},
    "a row too few": {"num_rows": ROWS - 1},
    "true rows": {"num_rows": True},
    "broken rows": {"num_rows": 1.5},
    "more usable rows than rows": {"num_ok": ROWS + 1},
    "files without end": {"num_files": 10**30},
    "tasks of no row": {"shard_rows": 0},
    "tasks without end": {"shard_rows": 10**9},
    "tasks of a text": {"shard_rows": "64"},
    "faces root is a mapping": {"faces_root": {"a": 1}},
    "faces root is a number": {"faces_root": 5},
    "merkle root of two lines": {"merkle_root": "\n\n"},
    "metadata is a list": {"metadata": []},
    "metadata is empty": {"metadata": {}},
    "metadata of numbers": {"metadata": {METADATA: 5}},
    "metadata leads out": {"metadata": {"../../../etc/passwd": "ab"}},
    "failures of mappings": {"failures": {"a": {}}},
    "failures without end": {"failures": {"a": 10**50}},
    "licences of numbers": {"licences": {"a": 5}},
    "lineage nested deeply": {"lineage": nested(60)},
    "lineage without end": {"lineage": {"a": "x" * 5_000_000}},
    "version is a text": {"schema_version": "2"},
    "version is true": {"schema_version": True},
    "version before ours": {"schema_version": 0},
    "version below zero": {"schema_version": -1},
    "tasks of no row in version 1": {"schema_version": 1, "shard_rows": 0},
    "tasks without end in version 1": {"schema_version": 1, "shard_rows": 1 << 40},
    "more rows in sum than rows": {"failures": {"a": ROWS, "b": ROWS}},
}


@pytest.mark.parametrize("changes", PASSPORTS.values(), ids=PASSPORTS)
def test_a_passport_of_wrong_values_is_refused(stores: Path, changes: dict[str, Any]) -> None:
    reseal(stores / "faces.zarr", **changes)
    check_refused(stores)


@pytest.mark.parametrize(
    "data",
    [b"\xff\xfe", b"[" * 100_000, b"{%s}" % (b" " * (5 << 20)), b'{"a": %s}' % (b"1" * 5000), b""],
    ids=["no text", "nested without end", "larger than any", "number without end", "empty"],
)
@pytest.mark.parametrize("name", [PASSPORT, METADATA, f"ok/{METADATA}"])
def test_what_is_no_json_of_ours_is_refused(stores: Path, name: str, data: bytes) -> None:
    put(stores / "faces.zarr" / name, data)
    if name != PASSPORT:
        reseal(stores / "faces.zarr")
    check_refused(stores)


def test_json_nested_deeper_than_any_of_ours_is_refused() -> None:
    assert parse_json(b'[{"a": [1]}]') == [{"a": [1]}]
    with pytest.raises(ValueError, match="nested"):
        parse_json(b"[" * 40 + b"]" * 40)


LINES = {
    "leads out": b'{"file": "../../../etc/passwd", "sha256": "ab"}',
    "is absolute": b'{"file": "/etc/passwd", "sha256": "ab"}',
    "controls the screen": b'{"file": "\\u001b[2J", "sha256": "ab"}',
    "without end": b'{"file": "' + b"a" * 10_000_000 + b'", "sha256": "ab"}',
    "nested deeply": b"[" * 30_000,
    "is no text": b"\xff\xff",
    "is a number": b"5",
    "hashes of numbers": b'{"shard":0,"input_hash":"","output_sha256":{"a":5},"num_rows":0,'
    b'"num_ok":0,"failures":{}}',
    "failures are a list": b'{"shard":0,"input_hash":"","output_sha256":{},"num_rows":0,'
    b'"num_ok":0,"failures":[]}',
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_ledger_line_of_wrong_values_is_reported(stores: Path, line: bytes) -> None:
    ledger = stores / "faces.zarr" / LEDGER
    put(ledger, ledger.read_bytes() + line + b"\n")
    check_refused(stores, read=False)


def test_a_ledger_without_end_is_reported(stores: Path) -> None:
    os.truncate(stores / "faces.zarr" / LEDGER, LARGEST_LEDGER + 1)  # a hole, no bytes on disk
    with within_bounds():
        assert find_faults(stores / "faces.zarr")


def link(path: Path, target: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to(target)


def in_place_of(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def attack(store: Path) -> None:
        (store / name).unlink()
        make(store / name)

    return attack


FILES: dict[str, Callable[[Path], object]] = {
    "link to a file": lambda store: link(store / "ok/c/0", Path("/etc/hostname")),
    "link to a folder": lambda store: link(store / "ok/c", Path("/etc")),
    "link in place of the passport": lambda store: link(store / PASSPORT, store / "moved"),
    "folders in folders": lambda store: (store / "/".join(["d"] * 40)).mkdir(parents=True),
    **{f"pipe as {name}": in_place_of(name, os.mkfifo) for name in ("ok/c/0", METADATA, PASSPORT)},
    **{f"pipe as {name}": in_place_of(name, os.mkfifo) for name in (LEDGER, SHARD)},
    **{f"folder as {name}": in_place_of(name, Path.mkdir) for name in ("ok/c/0", METADATA)},
    **{f"folder as {name}": in_place_of(name, Path.mkdir) for name in (LEDGER, PASSPORT)},
    "shard of nothing": lambda store: put(store / SHARD, b""),
}


@pytest.mark.parametrize("attack", FILES.values(), ids=FILES)
def test_what_is_no_plain_file_is_refused(stores: Path, attack: Callable[[Path], object]) -> None:
    attack(stores / "faces.zarr")
    check_refused(stores)


@pytest.mark.parametrize("name", ["../x", "a/../b", "/etc", "a/b/c", "", "a\n", ".hidden", "a//b"])
def test_a_round_cannot_be_named_out_of_its_folder(name: str) -> None:
    for path in (layout.manifest, layout.faces, layout.manifest_summary):
        with pytest.raises(InputError, match="letters, digits"):
            path(name)


TABLES: dict[str, Any] = {
    "no text": b"\xff",
    "nothing": b"",
    "a list": b"[]",
    "nested without end": b"[" * 100_000,
    "digest is a number": {"digest": 5},
    "round is a number": {"round": 5},
    "width is a word": {"latent_width": "x"},
    "kind is a list": {"kind": []},
    "no round": {"round": None},
}


@pytest.mark.parametrize("metadata", TABLES.values(), ids=TABLES)
def test_a_manifest_of_wrong_metadata_is_refused(
    tmp_path: Path, metadata: bytes | dict[str, Any]
) -> None:
    path = tmp_path / "pool.parquet"
    toy_manifest(5).write(path)
    table = pq.read_table(path)
    if isinstance(metadata, dict):
        values = {**json.loads(table.schema.metadata[KEY]), **metadata}
        texts = {name: value for name, value in values.items() if name != "digest"}
        if "digest" not in metadata and all(type(text) is str for text in texts.values()):
            values["digest"] = table_digest(table.replace_schema_metadata(None), texts)
        metadata = json.dumps(values).encode()
    pq.write_table(table.replace_schema_metadata({KEY: metadata}), path)
    with within_bounds(), pytest.raises(InputError, match=r"pool\.parquet: "):
        LatentManifest.read(path)
