"""Passport: what a store is, what it was made from, and the root over all its other files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from manifests.digests import canonical_json, sha256_text
from manifests.errors import InputError
from manifests.files import write_text

NAME = "passport.json"
SCHEMA_VERSION = 2
LARGEST = 1 << 22  # bytes: a stranger's passport must not fill the memory
COUNTS = ("num_rows", "num_ok", "num_files", "schema_version")


@dataclass(frozen=True)
class Fingerprint:
    """A generator or teacher: `identity` must be equal to be mixed, `numerics` is recorded."""

    identity: Mapping[str, Any]  # name, weights sha256, preprocessing, frame, metric, views
    numerics: Mapping[str, Any]  # torch version, CPU capability, batch shape


@dataclass(frozen=True)
class Passport:
    """Written last; a store without one does not open. Holds no time, host or cost.

    Version 2 adds `metadata` and a digest over the passport itself, so that a changed byte in
    either is noticed on opening; version 1 is read without both.
    """

    kind: str  # faces or teacher
    round: str
    num_rows: int
    num_ok: int
    failures: Mapping[str, int]
    merkle_root: str
    manifest_digest: str
    faces_root: str | None  # a teacher store names the faces it embeds
    fingerprint: Fingerprint
    lineage: Mapping[str, Any]
    licences: Mapping[str, str]
    num_files: int = 0  # beside this one: a store that lost a file does not open
    metadata: Mapping[str, str] = field(default_factory=dict)  # {path: sha256} of each zarr.json
    schema_version: int = field(default=SCHEMA_VERSION)

    def write(self, store: Path) -> None:
        values = asdict(self)
        write_text(store / NAME, _canonical({**values, "digest": _digest(values)}))

    @classmethod
    def read(cls, store: Path) -> Passport:
        """Parses a store's passport.

        Raises InputError if there is none, or if a byte of it is not as it was written.
        """
        path = store / NAME
        if not path.exists():
            what = "is unfinished (it has no passport)" if store.exists() else "does not exist"
            raise InputError(f"{store}: this store {what}; run the stage that builds it")
        try:
            return _parse(path, _read_text(path))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(f"{path}: not a passport ({error}); build the store again") from None


def _read_text(path: Path) -> str:
    with path.open("rb") as file:
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise ValueError(f"larger than {LARGEST} bytes")
    return raw.decode("utf-8")


def _parse(path: Path, text: str) -> Passport:
    values = json.loads(text)
    _check_version(path, values["schema_version"])
    if values["schema_version"] >= 2:
        digest = values.pop("digest")
        if digest != _digest(values) or text != _canonical({**values, "digest": digest}):
            raise ValueError("its bytes are not those that were written")
    _check_types(values)
    values["fingerprint"] = Fingerprint(**values["fingerprint"])
    return Passport(**values)


def _check_version(path: Path, version: int) -> None:
    if version > SCHEMA_VERSION:  # before the fields, of which a later version may have more
        raise InputError(
            f"{path}: schema version {version}, this code reads up to {SCHEMA_VERSION}; "
            "update Facestill"
        )


def _check_types(values: Mapping[str, Any]) -> None:
    for name in COUNTS:
        if type(values[name]) is not int or values[name] < 0:
            raise ValueError(f"{name} is {values[name]!r}, expected a count")
    texts = [f.name for f in fields(Passport) if f.type == "str"]
    for name in texts:
        if type(values[name]) is not str:
            raise ValueError(f"{name} is {values[name]!r}, expected a text")
    for name in ("failures", "lineage", "licences", "fingerprint"):
        if type(values[name]) is not dict:
            raise ValueError(f"{name} is {values[name]!r}, expected a mapping")


def _digest(values: Mapping[str, Any]) -> str:
    return sha256_text(canonical_json(dict(values)))


def _canonical(values: Mapping[str, Any]) -> str:
    return canonical_json(dict(values)) + "\n"
