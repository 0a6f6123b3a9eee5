"""Lists that people write by hand: CSV or Parquet, with the line of what is wrong."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from manifests.core.errors import Faults, InputError
from manifests.photographs.scores import GROUP

MOST_ROWS = 50_000_000  # IJB-C has 15,658,489 pairs
Rows = Iterator[tuple[str, dict[str, str]]]  # where it stands, and the row


MAY_BE_EMPTY = {GROUP.name}  # a pair's group: of two groups' people it has none


def read_csv(path: Path, *choices: Sequence[str], faults: Faults) -> Rows:
    """The rows of a CSV file with exactly the columns of one of the choices, all cells filled (but
    of MAY_BE_EMPTY).

    Raises InputError naming the file and what was expected. A row that is not so is passed over,
    and noted among the faults.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected columns {_or(choices)}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = _chosen(path, reader.fieldnames or [], choices)
            filled = {*columns} - MAY_BE_EMPTY
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if None in row or None in row.values() or not all(row[name] for name in filled):
                    count = len([*filter(None, row.values())])
                    faults.note(
                        f"{where}: {count} filled cells, expected {len(columns)}: "
                        f"{','.join(columns)}"
                    )
                    continue
                yield where, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a UTF-8 CSV file ({error})") from None


def read_list(folder: Path, stem: str, *choices: Sequence[str], faults: Faults) -> Rows:
    """The rows of STEM.parquet, or of STEM.csv, as `read_csv` has them; all values as text."""
    if (folder / f"{stem}.parquet").is_file():
        return _read_parquet(folder / f"{stem}.parquet", choices, faults)
    return read_csv(folder / f"{stem}.csv", *choices, faults=faults)


def read_columns(
    path: Path,
    schema: Mapping[str, pa.DataType],
    *,
    delimiter: str = " ",
    header: bool = False,
) -> pa.Table:
    """A long list as columns, without a Python object a row: of a list with a header the named
    columns, of one without all that it has.

    Raises InputError for a missing or empty file, one beyond bounds, and naming a line that has
    other cells.
    """
    reading = pc.ReadOptions(use_threads=False, column_names=None if header else list(schema))
    named = {"include_columns": list(schema)} if header else {}
    types = pc.ConvertOptions(column_types=schema, **named)
    quote = '"' if header else False
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path}: {path.stat().st_size} bytes, at most {LARGEST} are read")
        parsing = pc.ParseOptions(delimiter=delimiter, quote_char=quote)
        table = pc.read_csv(path, reading, parsing, types)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected {' '.join(schema)} a line") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: {str(error)[:200]}; expected {' '.join(schema)} a line"
        ) from None
    for name in schema:
        if table[name].null_count:
            row = int(np.argmax(table[name].is_null().to_numpy())) + 1 + header
            raise InputError(f"{path}, line {row}: {name} is no number")
    return table


def has_list(folder: Path, stem: str) -> bool:
    return any((folder / f"{stem}{end}").is_file() for end in (".parquet", ".csv"))


def _read_parquet(path: Path, choices: Sequence[Sequence[str]], faults: Faults) -> Rows:
    line = 0
    try:
        with pq.ParquetFile(path) as file:
            columns = _chosen(path, file.schema_arrow.names, choices)
            if file.metadata.num_rows > MOST_ROWS:
                raise InputError(f"{path}: {file.metadata.num_rows} rows, at most {MOST_ROWS}")
            for batch in file.iter_batches(1 << 14, columns=list(columns)):
                values = [batch.column(name).cast(pa.string()).to_pylist() for name in columns]
                for cells in zip(*values, strict=True):
                    line += 1
                    row = {name: cell or "" for name, cell in zip(columns, cells, strict=True)}
                    if not all(row[name] for name in row.keys() - MAY_BE_EMPTY):
                        faults.note(f"{path}, row {line}: an empty cell")
                        continue
                    yield f"{path}, row {line}", row
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({error})") from None


def _chosen(path: Path, found: Sequence[str], choices: Sequence[Sequence[str]]) -> Sequence[str]:
    for columns in choices:
        if list(found) == list(columns):
            return columns
    raise InputError(f"{path}: columns {','.join(found)[:200]}, expected {_or(choices)}")


def _or(choices: Sequence[Sequence[str]]) -> str:
    return " or ".join(",".join(columns) for columns in choices)


LARGEST = 1 << 30  # bytes of a file
MOST_RATED = 1 << 25
COLUMNS = {"image": pa.string(), "quality": pa.float64()}


def read_qualities(path: Path) -> dict[str, float]:
    """{image: quality}, higher is better; columns beside `image` and `quality` are passed over.

    Raises InputError for a missing or unreadable file, one beyond bounds, missing columns, values
    that are empty or not finite, and an image named twice.
    """
    table = _read(path)
    for name in COLUMNS:
        if table[name].null_count:
            raise InputError(f"{path}: column {name} has {table[name].null_count} empty values")
    images, quality = table["image"].to_pylist(), table["quality"].to_numpy()
    faults = Faults(str(path))
    for row in np.flatnonzero(~np.isfinite(quality)):
        faults.note(f"{path}: the quality of {images[row]!r} is {quality[row]}")
    for image, count in Counter(images).items():
        if count > 1:
            faults.note(f"{path}: names image {image!r} more than once")
    faults.raise_any()
    return dict(zip(images, quality.tolist(), strict=True))


def _read(path: Path) -> pa.Table:
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path}: {path.stat().st_size} bytes, at most {LARGEST} are read")
        table = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; name a CSV or Parquet file") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable table of image, quality ({error})") from None
    missing = [name for name in COLUMNS if name not in table.schema.names]
    if missing:
        raise InputError(f"{path}: no column {missing[0]!r}, expected image and quality")
    return table


def _parquet(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        if file.metadata.num_rows > MOST_RATED:
            raise InputError(f"{path}: {file.metadata.num_rows} rows, at most {MOST_RATED}")
        names = [name for name in COLUMNS if name in file.schema_arrow.names]
        table = file.read(columns=names)
    return table.cast(pa.schema({name: COLUMNS[name] for name in names}))


def _csv(path: Path) -> pa.Table:
    return pc.read_csv(
        path,
        convert_options=pc.ConvertOptions(
            column_types=COLUMNS, include_columns=list(COLUMNS), include_missing_columns=False,
            strings_can_be_null=True,
        ),
    )  # fmt: skip
