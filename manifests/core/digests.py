"""Digests: of files, of JSON, of table columns and of a whole folder (a Merkle root)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

AT_ONCE = 1 << 16  # strings that are held as Python's


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: one text for one value. NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def merkle_root(leaves: Mapping[str, str]) -> str:
    """The root of a binary hash tree over {relative path: sha256 of the file}, in path order.

    A leaf hashes its path with its content, so that files cannot swap places; an odd node at
    the end of a level moves up unchanged. The root of nothing is the hash of the empty text.
    """
    level = [sha256_text(f"leaf:{path}:{digest}") for path, digest in sorted(leaves.items())]
    while len(level) > 1:
        pairs = [level[at : at + 2] for at in range(0, len(level), 2)]
        level = [sha256_text(":".join(["node", *pair])) if pair[1:] else pair[0] for pair in pairs]
    return level[0] if level else sha256_text("")


def folder_hashes(folder: Path, *, leave_out: Iterable[str] = ()) -> dict[str, str]:
    """{relative path: sha256} of every file below `folder`, without the named ones."""
    left_out = set(leave_out)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: sha256_file(path) for name, path in names.items() if name not in left_out}


def table_digest(table: pa.Table, metadata: Mapping[str, str]) -> str:
    """The logical digest of a table: metadata, column names, types, nulls and values.

    It depends on no file layout, so it stays put when the pyarrow version moves the bytes.
    """
    digest = hashlib.sha256(canonical_json(dict(metadata)).encode())
    for field in table.schema:
        digest.update(f"{field.name}:{_type_name(field.type)}".encode())
        for part in _column_bytes(table[field.name].combine_chunks()):
            digest.update(part)
    return digest.hexdigest()


def _type_name(kind: pa.DataType) -> str:
    """Without the name that a file format gives to a list's items."""
    if pa.types.is_fixed_size_list(kind):
        return f"{kind.value_type}[{kind.list_size}]"
    return str(kind)


def _column_bytes(column: pa.Array) -> Iterator[bytes]:
    yield np.asarray(column.is_valid()).astype(np.uint8).tobytes()
    values = column.drop_null()
    if pa.types.is_fixed_size_list(column.type):
        values = values.flatten()
    if pa.types.is_string(column.type):
        yield b"["
        for at in range(0, len(values), AT_ONCE):
            part = json.dumps(values.slice(at, AT_ONCE).to_pylist())[1:-1]
            yield f", {part}".encode() if at else part.encode()
        yield b"]"
    else:
        array = values.to_numpy(zero_copy_only=False)
        yield array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
