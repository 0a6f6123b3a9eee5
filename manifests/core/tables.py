"""Parquet tables with a schema, a version and a logical digest: the base of every manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.core.digests import table_digest
from manifests.core.errors import InputError
from manifests.core.files import parse_json, replacing
from manifests.core.layout import maker_of

KEY = b"facestill"
BATCH_ROWS = 1 << 14


def write_table(path: Path, kind: str, table: pa.Table, metadata: Mapping[str, str]) -> str:
    """Writes a table with its digest in the schema metadata; returns the digest."""
    described = {"kind": kind, **metadata}
    digest = table_digest(table, described)
    packed = json.dumps({**described, "digest": digest}, sort_keys=True)
    with replacing(path) as scratch:
        stored = table.replace_schema_metadata({KEY: packed})
        pq.write_table(stored, scratch, compression="zstd", store_schema=True)
    return digest


def read_table(path: Path, kind: str, schema: pa.Schema) -> tuple[pa.Table, dict[str, str], str]:
    """The table, its metadata and its digest, recomputed from the values.

    Raises InputError for another kind of file, another schema, or values that were changed
    after the digest was made.
    """
    return read_versions(path, {kind: schema})


def read_versions(
    path: Path, schemas: Mapping[str, pa.Schema]
) -> tuple[pa.Table, dict[str, str], str]:
    """The same for a contract of several versions, {kind: schema}, the newest last; the
    metadata's `kind` says which one was read."""
    table = _open(path)
    metadata = _metadata(path, table, list(schemas))
    schema = schemas[metadata["kind"]]
    stored = metadata.pop("digest")
    table = _conform(path, table, schema)
    digest = table_digest(table, metadata)
    if digest != stored:
        raise InputError(
            f"{path}: its values have digest {digest[:12]}, its metadata says {stored[:12]}; "
            "the file was changed after it was made: make it again"
        )
    return table, metadata, digest


def _open(path: Path) -> pa.Table:
    try:
        # Batch by batch: a row group that is decoded whole takes six times its size on the way.
        with pq.ParquetFile(path) as file:
            return pa.Table.from_batches(file.iter_batches(BATCH_ROWS), file.schema_arrow)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run {maker_of(path)} first") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({error})") from None


def _metadata(path: Path, table: pa.Table, kinds: list[str]) -> dict[str, str]:
    packed: bytes = (table.schema.metadata or {}).get(KEY, b"{}")
    try:
        metadata = parse_json(packed)
    except ValueError as error:
        raise InputError(f"{path}: its metadata is not JSON ({error}); make it again") from None
    texts = type(metadata) is dict and all(type(item) is str for item in metadata.values())
    if not texts or metadata.get("kind") not in kinds or "digest" not in metadata:
        found = str(metadata.get("kind", "an unknown table"))[:80] if texts else "another table"
        raise InputError(f"{path}: holds {found}, not {kinds[-1]}")
    return metadata


def _lists_alike(found: pa.DataType, expected: pa.DataType) -> bool:
    """Both fixed-size lists of one item type: their width is checked by the contract."""
    both = pa.types.is_fixed_size_list(found) and pa.types.is_fixed_size_list(expected)
    return both and found.value_type == expected.value_type


def _conform(path: Path, table: pa.Table, schema: pa.Schema) -> pa.Table:
    if table.schema.names != schema.names:
        raise InputError(f"{path}: columns {table.schema.names}, expected {schema.names}")
    for field in schema:
        found = table.schema.field(field.name).type
        if found != field.type and not _lists_alike(found, field.type):
            raise InputError(f"{path}: column {field.name} is {found}, expected {field.type}")
    return table.replace_schema_metadata(None)
