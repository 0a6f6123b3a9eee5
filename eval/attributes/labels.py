"""Tables of labelled faces: which attributes somebody said that a face has.

CSV or Parquet with a column `image` (a photograph's name in its folder; `Filename` in
MAAD-Face) or `face_id` (of a store), perhaps `subject` (`Identity`), and a column an attribute:
1 it has it, -1 it has it not, 0 or empty: undefined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from jaxtyping import Int, Int8

from eval.attributes.maad_face import NAMES, canonical
from manifests.core.digests import sha256_file
from manifests.core.errors import Faults, InputError
from manifests.photographs.names import Spellings
from manifests.records.attributes import MOST_ATTRIBUTES, NAME

IMAGE, FACE_ID, SUBJECT = "image", "face_id", "subject"
ALIASES = {"filename": IMAGE, "identity": SUBJECT, IMAGE: IMAGE, FACE_ID: FACE_ID, SUBJECT: SUBJECT}
YES, UNDEFINED, NO = 1, 0, -1
MOST_BYTES = 4 << 30  # MAAD-Face has 3.3 million rows in 0.4 GB


@dataclass(frozen=True)
class Labels:
    """Row i of `values` (1, -1 or 0 for undefined) is of `key[i]`: an image's name or a face id."""

    name: str  # of the file
    sha256: str
    kind: str  # image or face_id
    key: tuple[str, ...]
    subject: tuple[str, ...] | None  # "" where a row's is not known; None: the table has none
    attributes: tuple[str, ...]
    values: Int8[np.ndarray, "row attribute"]

    def rows_in(self, places: Sequence[str], where: str) -> Int[np.ndarray, " row"]:
        """The row of `places` (names of images, or face ids) that each label belongs to.

        Raises InputError naming those that are not there, and two that are one.
        """
        row_of = {place: row for row, place in enumerate(places)}
        what = "face" if self.kind == FACE_ID else "image"
        faults, spellings = Faults(self.name), Spellings(places)
        found: dict[str, str] = {}
        for key in self.key:
            place = spellings.find(key)
            if place is None:
                faults.note(
                    f"{self.name}: {what} {key[:200]!r} is not in {where}"
                    f"{spellings.hint(key) or f'; name the {where.split()[0]} that was labelled'}"
                )
            elif found.setdefault(place, key) != key:
                faults.note(f"{self.name}: {found[place]!a} and {key!a} are one {what}")
        faults.raise_any()
        return np.array([row_of[place] for place in found], np.int64)


def read_labels(path: Path, wanted: Sequence[str] = ()) -> Labels:
    """The table in a file. `wanted` names the attributes to take; those may have any name, while
    of a whole table each must be one of MAAD-Face's.

    Raises InputError naming the column, or the value, that does not belong there.
    """
    table = _read(path)
    roles = {name: ALIASES.get(name.lower()) for name in table.column_names}
    keys = [name for name, role in roles.items() if role in (IMAGE, FACE_ID)]
    subjects = [name for name, role in roles.items() if role == SUBJECT]
    if len(keys) != 1 or len(subjects) > 1:
        raise InputError(
            f"{path}: columns {', '.join(table.column_names[:6])} …; expected one of image and "
            "face_id, perhaps subject, and a column an attribute"
        )
    columns = _chosen(path, [name for name, role in roles.items() if role is None], wanted)
    faults = Faults(str(path))
    values = np.stack([_answers(path, table, name, faults) for name in columns.values()], axis=1)
    key = tuple(map(str, table[keys[0]].to_pylist()))
    for name, count in Counter(key).items():
        if count > 1:
            faults.note(f"{path}: {keys[0]} {name[:200]!r} is there {count} times")
    faults.raise_any()
    owners = table[subjects[0]].to_pylist() if subjects else None
    return Labels(
        path.name, sha256_file(path), roles[keys[0]] or IMAGE, key,
        None if owners is None else tuple("" if who is None else str(who) for who in owners),
        tuple(columns), values,
    )  # fmt: skip


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise InputError(f"{path}: no such file; name a CSV or Parquet table of labelled faces")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path}: over {MOST_BYTES >> 30} GB, expected a table of labels")
    try:
        table = pq.read_table(path) if path.suffix == ".parquet" else _read_csv(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable table ({str(error)[:200]})") from None
    if not len(table):
        raise InputError(f"{path}: no rows")
    return table


def _read_csv(path: Path) -> pa.Table:
    """All cells as text: what a number is, is decided by its column's role."""
    with pacsv.open_csv(path) as opened:
        names = opened.schema.names
    convert = pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    return pacsv.read_csv(path, convert_options=convert)


def _chosen(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """{attribute: the column that has it}."""
    named = {canonical(column) or column: column for column in columns}
    if len(named) < len(columns):
        raise InputError(f"{path}: two columns name one attribute: {', '.join(columns)[:200]}")
    asked = [canonical(name) or name for name in wanted]
    for name in asked or named:
        if name not in named:
            raise InputError(f"{path}: no attribute {name[:80]!r}; it has {', '.join(named)[:400]}")
        if not asked and name not in NAMES:
            raise InputError(
                f"{path}: column {name[:80]!r} is none of MAAD-Face's 47 attributes; name the "
                "attributes to take with --attributes, or take the column out"
            )
        if not NAME.fullmatch(name):
            raise InputError(f"{path}: attribute {name[:80]!r}; rename its column")
    chosen = {name: named[name] for name in (asked or named)}
    if not 1 <= len(chosen) <= MOST_ATTRIBUTES:
        raise InputError(f"{path}: {len(chosen)} attributes, expected 1 to {MOST_ATTRIBUTES}")
    return chosen


def _answers(path: Path, table: pa.Table, name: str, faults: Faults) -> Int8[np.ndarray, " row"]:
    column = table[name]
    if pa.types.is_null(column.type):
        return np.zeros(len(table), np.int8)
    texts = column.cast(pa.string()).to_pylist()
    known: dict[str | None, int] = {"1": YES, "1.0": YES, "-1": NO, "-1.0": NO}
    known |= {text: UNDEFINED for text in ("0", "0.0", "-0.0", "", None)}
    for row, text in enumerate(texts):
        if text not in known:
            faults.note(
                f"{path}: {name} of row {row} is {text[:40]!r}, expected 1, -1, or 0 for undefined"
            )
    return np.array([known.get(text, UNDEFINED) for text in texts], np.int8)
