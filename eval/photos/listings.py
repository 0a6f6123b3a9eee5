"""Lists that people write by hand: CSV or Parquet, with the line of what is wrong."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.core.errors import InputError

MOST_ROWS = 50_000_000  # IJB-C has 15,658,489 pairs
Rows = Iterator[tuple[str, dict[str, str]]]  # where it stands, and the row


def read_csv(path: Path, *choices: Sequence[str]) -> Rows:
    """The rows of a CSV file with exactly the columns of one of the choices, all cells filled.

    Raises InputError naming the file and what was expected.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected columns {_or(choices)}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = _chosen(path, reader.fieldnames or [], choices)
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if None in row or not all(row[name] for name in columns):
                    filled = len([*filter(None, row.values())])
                    raise InputError(
                        f"{where}: {filled} filled cells, expected {len(columns)}: "
                        f"{','.join(columns)}"
                    )
                yield where, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a UTF-8 CSV file ({error})") from None


def read_list(folder: Path, stem: str, *choices: Sequence[str]) -> Rows:
    """The rows of STEM.parquet, or of STEM.csv; all values as text."""
    if (folder / f"{stem}.parquet").is_file():
        return _read_parquet(folder / f"{stem}.parquet", choices)
    return read_csv(folder / f"{stem}.csv", *choices)


def has_list(folder: Path, stem: str) -> bool:
    return any((folder / f"{stem}{end}").is_file() for end in (".parquet", ".csv"))


def _read_parquet(path: Path, choices: Sequence[Sequence[str]]) -> Rows:
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
                    if not all(cells):
                        raise InputError(f"{path}, row {line}: an empty cell")
                    yield f"{path}, row {line}", dict(zip(columns, cells, strict=True))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({error})") from None


def _chosen(path: Path, found: Sequence[str], choices: Sequence[Sequence[str]]) -> Sequence[str]:
    for columns in choices:
        if list(found) == list(columns):
            return columns
    raise InputError(f"{path}: columns {','.join(found)[:200]}, expected {_or(choices)}")


def _or(choices: Sequence[Sequence[str]]) -> str:
    return " or ".join(",".join(columns) for columns in choices)
