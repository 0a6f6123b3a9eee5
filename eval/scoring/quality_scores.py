"""Quality scores of images, from anybody's CSV or Parquet file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from manifests.core.errors import InputError

LARGEST = 1 << 30  # bytes of a file
MOST_ROWS = 1 << 25
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
    wrong = np.flatnonzero(~np.isfinite(quality))
    if len(wrong):
        raise InputError(f"{path}: the quality of {images[wrong[0]]!r} is {quality[wrong[0]]}")
    found = dict(zip(images, quality.tolist(), strict=True))
    if len(found) < len(images):
        (twice, _), *_ = Counter(images).most_common(1)
        raise InputError(f"{path}: names image {twice!r} more than once")
    return found


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
        if file.metadata.num_rows > MOST_ROWS:
            raise InputError(f"{path}: {file.metadata.num_rows} rows, at most {MOST_ROWS}")
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
