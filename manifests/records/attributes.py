"""AttributeTable: what an annotator measured on every face of a store, or on every photograph."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from manifests.core.digests import canonical_json
from manifests.core.errors import InputError
from manifests.core.files import parse_json
from manifests.core.tables import read_table, write_table

KIND = "attributes-1"
FACES, PHOTOGRAPHS = "faces", "photographs"
MEASURED = "measured"  # the annotator of the flow
KEYS = {"face_id": pa.int64(), "image": pa.string(), "subject": pa.string()}
NAME = re.compile(r"[A-Za-z0-9][\w .:'-]{0,79}")
MOST_ATTRIBUTES, MOST_EDGES = 256, 1024


@dataclass(frozen=True)
class Attribute:
    """A measured quantity. Its bins are declared with it, so that every histogram of it, on
    whatever set, is taken over the same ones."""

    name: str
    unit: str
    low: float  # the values that can be
    high: float
    edges: tuple[float, ...]  # bin i is [edges[i], edges[i + 1]), the last with its end
    meaning: str  # in words, the direction of the axis included

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise InputError(
                f"attribute {self.name[:80]!r}: a name has letters, digits, spaces and .:'-_"
            )
        edges = np.asarray(self.edges, np.float64)
        if not 2 <= len(edges) <= MOST_EDGES or not (np.diff(edges) > 0).all():
            raise InputError(f"attribute {self.name}: its bins' edges do not rise, or are too few")
        if not np.isfinite([self.low, self.high, *edges]).all() or self.low >= self.high:
            raise InputError(f"attribute {self.name}: range {self.low} to {self.high}")


@dataclass(frozen=True)
class Source:
    """What a table was measured on."""

    kind: str  # faces or photographs
    name: str  # of the round, or of the set of photographs
    digest: str  # Merkle root of the face store, or of the photographs by name and hash

    def __post_init__(self) -> None:
        if self.kind not in (FACES, PHOTOGRAPHS):
            raise InputError(f"source {self.kind[:40]!r}, expected {FACES} or {PHOTOGRAPHS}")


@dataclass(frozen=True)
class AttributeTable:
    """Row i is row i of the face store, or the i-th photograph by name. NaN: undefined there.

    A failed face, and a photograph in which no face was found, keep their row and are undefined.
    `values` has a column for each of `attributes`. `face_id` is of a store's faces, `image` of
    photographs; `subject` says whose face it is, where that is known ("" elsewhere).
    """

    annotator: Mapping[str, Any]  # its identity: name, version and all that values depend on
    source: Source
    attributes: tuple[Attribute, ...]
    values: Float[np.ndarray, "row attribute"]
    face_id: Int[np.ndarray, " row"] | None
    image: tuple[str, ...] | None
    subject: tuple[str, ...]

    def __post_init__(self) -> None:
        keys = self.face_id if self.source.kind == FACES else self.image
        if keys is None or {len(keys), len(self.subject)} != {len(self.values)}:
            raise InputError("attribute table: columns of unlike lengths")
        if len(np.unique(np.asarray(keys))) < len(keys):
            raise InputError("attribute table: a face is there twice")
        names = self.names
        if not 1 <= len(names) <= MOST_ATTRIBUTES or len(set(names)) < len(names):
            raise InputError(f"attribute table: {len(names)} attributes, or a name twice")
        if set(names) & set(KEYS):
            raise InputError(f"attribute table: no attribute may be called {', '.join(KEYS)}")
        if self.values.shape[1] != len(names):
            raise InputError(f"attribute table: {self.values.shape[1]} columns for {len(names)}")
        for attribute, column in zip(self.attributes, self.values.T, strict=True):
            _check_range(attribute, column)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def names(self) -> list[str]:
        return [attribute.name for attribute in self.attributes]

    @property
    def label(self) -> list[str]:
        """What to call each row: its image, or its face id."""
        return list(self.image or ()) if self.face_id is None else list(map(str, self.face_id))

    def column(self, name: str) -> Float[np.ndarray, " row"]:
        """Raises InputError, which lists the attributes, for an unknown name."""
        if name not in self.names:
            raise InputError(f"unknown attribute {name[:80]!r}; there are {', '.join(self.names)}")
        return self.values[:, self.names.index(name)]

    def require_faces(self, face_id: Int[np.ndarray, " face"], root: str) -> None:
        """Raises InputError unless this table was measured on the store of that root, whose
        faces have those ids."""
        if self.source.digest != root:
            raise InputError(
                f"attributes of {self.source.name}: measured on face store "
                f"{self.source.digest[:12]}, the store at hand is {root[:12]}; annotate it again"
            )
        if not np.array_equal(np.asarray(self.face_id), face_id):
            strangers = np.setdiff1d(np.asarray(self.face_id), face_id)
            what = f"face {strangers[0]} is not in the store" if len(strangers) else "other rows"
            raise InputError(f"attributes of {self.source.name}: {what}; annotate it again")

    def write(self, path: Path) -> str:
        """Returns the digest."""
        blank = [None] * len(self)
        face_id = blank if self.face_id is None else self.face_id
        image, subject = self.image or blank, [name or None for name in self.subject]
        keys = zip((face_id, image, subject), KEYS.values(), strict=True)
        arrays = [pa.array(values, kind) for values, kind in keys]
        arrays += [pa.array(c, pa.float32(), mask=np.isnan(c)) for c in self.values.T]
        table = pa.Table.from_arrays(arrays, schema=_schema(self.names))
        return write_table(path, KIND, table, self._metadata())

    @classmethod
    def read(cls, path: Path) -> AttributeTable:
        """Raises InputError naming the file and what in it breaks the contract."""
        table, metadata, _ = read_table(path, KIND, _schema(_attribute_names(path)))
        try:
            return _from_table(table, metadata)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def _metadata(self) -> dict[str, str]:
        return {
            "annotator": canonical_json(dict(self.annotator)),
            "attributes": json.dumps([asdict(attribute) for attribute in self.attributes]),
            **{f"source_{name}": value for name, value in asdict(self.source).items()},
        }


def _check_range(attribute: Attribute, column: np.ndarray) -> None:
    found = column[~np.isnan(column)]
    outside = found[(found < attribute.low) | (found > attribute.high)]
    if len(outside):
        raise InputError(
            f"attribute {attribute.name}: value {outside[0]:.6g}, expected "
            f"{attribute.low:g} to {attribute.high:g}"
        )


def _schema(names: Sequence[str]) -> pa.Schema:
    return pa.schema([*KEYS.items(), *((name, pa.float32()) for name in names)])


def _attribute_names(path: Path) -> list[str]:
    """Columns beside the keys; none for a file that `read_table` will refuse by itself."""
    try:
        return [name for name in pq.read_schema(path).names if name not in KEYS]
    except (OSError, pa.ArrowInvalid):
        return []


def _from_table(table: pa.Table, metadata: Mapping[str, str]) -> AttributeTable:
    names = [name for name in table.schema.names if name not in KEYS]
    annotator, declared = (_parse(metadata, name) for name in ("annotator", "attributes"))
    attributes = tuple(map(_attribute, declared if type(declared) is list else [None]))
    if [attribute.name for attribute in attributes] != names or type(annotator) is not dict:
        raise InputError(f"its metadata does not describe the columns {names}")
    keys = ("source_kind", "source_name", "source_digest")
    source = Source(*(metadata.get(name, "") for name in keys))
    values = [table[name].to_numpy().astype(np.float32) for name in names]
    stacked = np.stack(values, axis=1) if values else np.empty((len(table), 0), np.float32)
    face_id = table["face_id"] if source.kind == FACES else None
    if face_id is not None and face_id.null_count:
        raise InputError("a row has no face_id")
    image = None if face_id is not None else tuple(map(str, table["image"].to_pylist()))
    subject = tuple(name or "" for name in table["subject"].to_pylist())
    ids = None if face_id is None else face_id.to_numpy()
    return AttributeTable(annotator, source, attributes, stacked, ids, image, subject)


def _parse(metadata: Mapping[str, str], name: str) -> Any:
    try:
        return parse_json(metadata.get(name, "").encode())
    except ValueError as error:
        raise InputError(f"its {name} are not JSON ({error})") from None


def _attribute(value: Any) -> Attribute:
    names = [field.name for field in fields(Attribute)]
    if type(value) is not dict or sorted(value) != sorted(names):
        raise InputError(f"an attribute is declared with other keys than {', '.join(names)}")
    texts = all(type(value[name]) is str for name in ("name", "unit", "meaning"))
    edges = value["edges"]
    numbers = [value["low"], value["high"], *(edges if type(edges) is list else ["none"])]
    if not texts or not all(type(number) in (int, float) for number in numbers):
        raise InputError("an attribute is declared with values of the wrong types")
    try:
        low, high, *rest = map(float, numbers)
    except OverflowError:
        raise InputError("an attribute is declared with a number that is none of float") from None
    return Attribute(value["name"], value["unit"], low, high, tuple(rest), value["meaning"])
