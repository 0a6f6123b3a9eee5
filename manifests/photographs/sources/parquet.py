"""parquet:PATH, a Parquet file or a folder of them, as Hugging Face's datasets writes images: a
column of {bytes, path}, or of bytes, and one that says who it is.

An image is named by its row. Columns are read a few rows at a time, in their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests.core.errors import Faults, InputError
from manifests.photographs.images import MOST_BYTES
from manifests.photographs.sources.base import (
    Fields,
    ImageCollection,
    Label,
    open_files,
    parse_label,
    pick_identity,
)

IMAGES = ("image", "img", "face", "picture", "photo", "jpg", "png", "webp")  # the surest first
BYTES = "bytes"  # of an image, beside its path
AT_ONCE = 1  # images that are held: few bytes may claim that many large ones
LABELS_AT_ONCE, MOST_TEXT = 256, 1024  # rows; bytes of a text
LEAST_BYTES = 16  # of a file, a row: less than any image has
# Of a stranger's footer, which is taken apart before anything can be looked at.
MOST_STRING, MOST_ITEMS = 16 << 20, 1 << 20


@dataclass(frozen=True)
class Table:
    """A file, and its columns that count."""

    path: Path
    prefix: str  # of its images' names
    image: str
    leaf: str  # the path of its bytes in the file
    identity: str | None
    groups: tuple[int, ...]  # rows

    @property
    def num_rows(self) -> int:
        return sum(self.groups)


def _open(path: Path, texts: Sequence[str] = ()) -> pq.ParquetFile:
    """`texts` are columns whose values are held once each, however many rows have them."""
    return pq.ParquetFile(
        path,
        read_dictionary=list(texts),
        thrift_string_size_limit=MOST_STRING,
        thrift_container_size_limit=MOST_ITEMS,
        buffer_size=1 << 20,  # else a column's part of a row group is read whole
        page_checksum_verification=True,
    )


def _refused(path: Path, error: Exception) -> InputError:
    text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return InputError(f"{path}: no Parquet file that can be read ({text}); bring it whole")


# What pyarrow raises over broken files, by its tests and its issues.
BROKEN = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, MemoryError, OverflowError)


@final
class ParquetImages(ImageCollection):
    """Rows of tables; see `open_images`."""

    def __init__(self, root: Path, tables: Sequence[Table], labels: Sequence[Label]) -> None:
        self.root, self.tables, self.labels = root, tables, labels
        self.rows = {
            f"{table.prefix}{row}": (table, row)
            for table in tables
            for row in range(table.num_rows)
        }
        self.names = tuple(self.rows)
        self._reading: _Reading | None = None

    def places(self) -> None:
        """Images are packed in the columns."""

    def read(self, name: str) -> bytes:
        table, row = self.rows[name]
        if self._reading is None or not self._reading.comes_to(table, row):
            self._reading = _Reading(table, row)
        value = self._reading.value(row)
        size = len(value.as_buffer()) if value.is_valid else 0
        if not size:
            raise InputError(
                f"{self.where(name)}: it has no bytes; write the set with its images in it"
            )
        if size > MOST_BYTES:
            raise InputError(f"{self.where(name)}: {size} bytes, an image may have {MOST_BYTES}")
        return bytes(value.as_buffer())


@final
class _Reading:
    """A table from the row group on that a row is in, some rows at a time."""

    def __init__(self, table: Table, row: int) -> None:
        starts = np.cumsum([0, *table.groups])
        group = int(np.searchsorted(starts, row, "right")) - 1
        self.table, self.start = table, int(starts[group])
        self.values: Sequence[Any] = ()
        self.batches = _batches(table, group)
        self.fault: InputError | None = None

    def comes_to(self, table: Table, row: int) -> bool:
        """Whether a row is here or among the next ones."""
        end = self.start + len(self.values) + AT_ONCE
        return table is self.table and self.start <= row < end

    def value(self, row: int) -> Any:
        """Raises InputError, and the same from then on: nothing behind a broken page is found."""
        try:
            while self.fault is None and row >= self.start + len(self.values):
                self.start += len(self.values)
                self.values = next(self.batches)
        except StopIteration:
            self.fault = InputError(f"{self.table.path}: ends before row {row}; bring it whole")
        except BROKEN as error:
            self.fault = _refused(self.table.path, error)
        if self.fault is not None:
            raise self.fault
        return self.values[row - self.start]


def _batches(table: Table, group: int) -> Iterator[Sequence[Any]]:
    with _open(table.path) as file:
        groups = [*range(group, len(table.groups))]
        for batch in file.iter_batches(AT_ONCE, groups, [table.leaf], use_threads=False):
            column = batch.column(table.image)  # a column called image.bytes comes along
            if pa.types.is_struct(column.type):
                column = column.flatten()[0]  # null where the struct is
            yield column


def open_images(path: Path, fields: Fields) -> ParquetImages:
    """Raises InputError, naming the file, for what is no Parquet file, one without such columns,
    one that is encrypted, and labels that are none."""
    faults = Faults(str(path))
    tables: list[Table] = []
    labels: list[Label] = []
    for own, prefix in zip(*open_files(path, ".parquet"), strict=True):
        with faults:
            try:
                with _open(own) as file:
                    table = _table(own, prefix, file, fields)
                tables.append(table)
                _require_alike(table, tables[0])
                labels += _labels(table)
            except BROKEN as error:
                raise _refused(own, error) from None
    faults.raise_any()
    if not labels:
        raise InputError(f"{path}: no images in it")
    return ParquetImages(path, tables, labels)


def _table(path: Path, prefix: str, file: pq.ParquetFile, fields: Fields) -> Table:
    """Raises InputError."""
    footer, size = file.metadata, path.stat().st_size
    groups = tuple(footer.row_group(at).num_rows for at in range(footer.num_row_groups))
    if min(groups, default=0) < 0 or sum(groups) != footer.num_rows:
        raise InputError(f"{path}: its row groups do not have the rows that it claims")
    schema = file.schema_arrow
    known = [name for name in schema.names if schema.names.count(name) == 1]
    image = _image(path, schema, known, fields)
    if footer.num_rows > size // LEAST_BYTES:
        raise InputError(f"{path}: claims {footer.num_rows:,} images in {size:,} bytes")
    identity = pick_identity([name for name in known if name != image], fields.identity, path)
    kind = schema.field(image).type
    leaf = f"{image}.{BYTES}" if pa.types.is_struct(kind) else image
    return Table(path, prefix, image, leaf, identity, groups)


def _require_alike(table: Table, first: Table) -> None:
    if (table.leaf, table.identity) != (first.leaf, first.identity):
        raise InputError(
            f"{table.path}: images are in {table.image} and who it is in {table.identity}, in "
            f"{first.path.name} in {first.image} and {first.identity}; adopt them one by one, or "
            "say --image NAME and --identity NAME"
        )


def _image(path: Path, schema: pa.Schema, known: Sequence[str], fields: Fields) -> str:
    """The column of images: the one that is asked for, or called so, or the only one."""
    fit = [name for name in known if _is_image(schema.field(name).type)]
    if fields.image is not None and fields.image in fit:
        return fields.image
    if fields.image is None:
        named = [name for name in IMAGES if name in fit] or fit
        if named and (len(fit) == 1 or named is not fit):
            return named[0]
    there = ", ".join(name[:40] for name in (fit or known)[:20])
    what = "which of them are the faces: say --image NAME" if fit else "none has images"
    raise InputError(
        f"{path}: columns {there}: {what}; images are bytes, or bytes and path, as datasets "
        "writes them"
    )


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        names = [kind.field(at).name for at in range(kind.num_fields)]
        return names.count(BYTES) == 1 and _is_image(kind.field(BYTES).type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _labels(table: Table) -> Iterator[Label]:
    """Who is on the image of each row. Raises InputError for what says nobody."""
    if table.identity is None:
        yield from (None for _ in range(table.num_rows))
        return
    with _open(table.path) as file:
        kind = file.schema_arrow.field(table.identity).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if not (texts or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise InputError(
            f"{table.path}: column {table.identity} is of type {str(kind)[:40]}; who it is is a "
            "number or a text: say --identity NAME"
        )
    with _open(table.path, [table.identity] if texts else ()) as file:
        yield from _values(table, file, texts=texts)


def _values(table: Table, file: pq.ParquetFile, *, texts: bool) -> Iterator[Label]:
    row = 0
    for batch in file.iter_batches(LABELS_AT_ONCE, columns=[table.identity], use_threads=False):
        column = batch.column(table.identity)
        if texts and (pc.max(pc.binary_length(column.dictionary)).as_py() or 0) > MOST_TEXT:
            raise InputError(f"{table.path}: {table.identity} of more than {MOST_TEXT} bytes")
        for value in column.to_pylist():
            try:
                yield parse_label(value)
            except InputError as error:
                raise InputError(f"{table.path}: row {row}: {error}") from None
            row += 1
    if row != table.num_rows:
        raise InputError(f"{table.path}: {row} rows of {table.identity}, {table.num_rows} images")
