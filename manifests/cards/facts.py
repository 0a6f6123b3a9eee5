"""Facts: what the stores and the manifest of a round state of themselves, for its card.

Only passports, metadata and the manifest are read: arrays are checked by manifests.check.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from manifests.core import layout
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.stores.latents import LatentManifest, Recipe
from manifests.stores.passport import Passport
from manifests.stores.reading import Group, TeacherStore
from manifests.stores.rounds import embedded_by, open_faces

NOT_STATED = "not stated"


@dataclass(frozen=True)
class FileFacts:
    path: str  # relative to the folder that holds data/ and manifests/, with slashes
    sha256: str
    num_bytes: int


@dataclass(frozen=True)
class ArrayFacts:
    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class StoreFacts:
    name: str  # faces, or the teacher's name as the folder has it
    path: str
    passport: Passport
    files: tuple[FileFacts, ...]  # beside the arrays
    arrays: tuple[ArrayFacts, ...]

    @property
    def identity(self) -> Mapping[str, Any]:
        return self.passport.fingerprint.identity

    @property
    def maker(self) -> str:
        """Name of the generator or teacher whose output the store holds."""
        return str(self.identity.get("name", NOT_STATED))

    @property
    def weights_sha256(self) -> str:
        return str(self.identity.get("weights_sha256", NOT_STATED))


@dataclass(frozen=True)
class ManifestFacts:
    file: FileFacts
    digest: str
    recipe: Recipe
    num_rows: int
    columns: tuple[pa.Field, ...]
    filled: Mapping[str, int]  # rows with a value, by column
    origins: Mapping[str, int]
    laws: Mapping[str, int]
    distinct: Mapping[str, int]  # identity_id, parent_id, region_id


@dataclass(frozen=True)
class RoundFacts:
    name: str
    faces: StoreFacts
    frame: Mapping[str, Any]  # of the stored pictures
    teachers: tuple[StoreFacts, ...]
    manifest: ManifestFacts | None  # absent where another team's round was imported
    left_out: tuple[Path, ...] = ()  # embeddings of other faces that lie there

    @property
    def stores(self) -> tuple[StoreFacts, ...]:
        return (self.faces, *self.teachers)

    @property
    def num_imported(self) -> int:
        """Faces that no generator is known to have made, as in stores.rounds.RoundFiles."""
        if self.manifest is None:
            return self.faces.passport.num_rows
        return self.manifest.origins.get("imported", 0)

    @property
    def synthetic_source(self) -> str | None:
        """What whoever imported the faces states to have made them."""
        return self.faces.passport.synthetic_source

    @property
    def real_faces(self) -> str | None:
        """What whoever adopted photographs of real people states of them."""
        return self.faces.passport.real_faces

    @property
    def num_generated(self) -> int:
        return self.faces.passport.num_rows - self.num_imported

    @property
    def licences(self) -> list[tuple[str, str]]:
        """(name, terms) of all that the round was made with, from every passport."""
        stated = (store.passport.licences.items() for store in self.stores)
        return sorted({(name, str(terms)) for items in stated for name, terms in items})


def read_round(name: str, teachers: Sequence[str] | None = None) -> RoundFacts:
    """The facts of round `name`, below the current folder; the chain of digests is checked.
    `teachers`: whose embeddings it is of; None: of all that have embedded these faces."""
    manifest, faces = open_faces(name)
    found, left = embedded_by(name, faces) if teachers is None else (teachers, [])
    paths = [layout.teacher(name, each) for each in dict.fromkeys(found)]
    stores = [TeacherStore.open(path, expect={"faces": faces.root}) for path in paths]
    return RoundFacts(
        name,
        _store("faces", faces.path, faces.passport, faces.group),
        faces.frame,
        tuple(_store(s.path.stem, s.path, s.passport, s.group) for s in stores),
        None if manifest is None else _manifest(layout.manifest(name), manifest),
        tuple(left),
    )


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str | int | float | bool]]:
    """(dotted path, value) of all that nested mappings hold; a list is given as JSON."""
    if isinstance(value, Mapping):
        for key, item in sorted(value.items()):
            yield from leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, (list, tuple)):
        yield path, json.dumps(value, sort_keys=True)
    elif isinstance(value, float) and not math.isfinite(value):
        yield path, str(value)  # no number of JSON
    elif value is not None:
        yield path, value


def _check_name(path: Path) -> None:
    """The card has names as parts of paths, ids and patterns, where none may need an escape."""
    if not layout.ROUND.fullmatch(path.name):
        raise InputError(
            f"{path}: a name in a store has letters, digits, dots, dashes and underscores; bring "
            "or build the store again"
        )


def _store(name: str, path: Path, passport: Passport, group: Group) -> StoreFacts:
    files = sorted(file for file in path.iterdir() if file.is_file())
    arrays = sorted(file.parent for file in path.glob("*/zarr.json"))
    for each in (path, *files, *arrays):
        _check_name(each)
    return StoreFacts(
        name,
        path.as_posix(),
        passport,
        tuple(_file(file) for file in files),
        tuple(_array(array.name, group[array.name]) for array in arrays),
    )


def _array(name: str, array: Any) -> ArrayFacts:
    return ArrayFacts(name, str(array.dtype), tuple(array.shape))


def _file(path: Path) -> FileFacts:
    return FileFacts(path.as_posix(), sha256_file(path), path.stat().st_size)


def _manifest(path: Path, manifest: LatentManifest) -> ManifestFacts:
    table = manifest.table
    counted = ("identity_id", "parent_id", "region_id")
    return ManifestFacts(
        file=_file(path),
        digest=manifest.digest,
        recipe=manifest.recipe,
        num_rows=len(manifest),
        columns=tuple(table.schema),
        filled={name: len(manifest) - table[name].null_count for name in table.column_names},
        origins=_counts(table["origin"]),
        laws=_counts(table["law"]),
        distinct={name: len(table[name].drop_null().unique()) for name in counted},
    )


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return dict(sorted(Counter(column.drop_null().to_pylist()).items()))
