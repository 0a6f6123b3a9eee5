"""Passport: what a store is, what it was made from, and the root over all its other files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from manifests.core.digests import canonical_json, sha256_text
from manifests.core.errors import InputError
from manifests.core.files import parse_json, write_text
from manifests.core.layout import FACES, ROUND, maker_of

NAME = "passport.json"
OF_FACES = "passports/faces.json"  # in a take-away
SCHEMA_VERSION = 3
LARGEST = 1 << 22  # bytes: a stranger's passport must not fill the memory
MOST_SHARD_ROWS = 1 << 24
LONGEST_TEXT = 200  # characters of a name or digest
COUNTS = ("num_rows", "num_ok", "num_files", "shard_rows", "schema_version")
DIGEST = re.compile("[0-9a-f]*")
FORMS = {
    "kind": re.compile("[a-z]+"), "round": ROUND, "merkle_root": DIGEST,
    "manifest_digest": DIGEST, "faces_root": DIGEST,
}  # fmt: skip
MAPPINGS = {
    "failures": int, "lineage": object, "licences": str, "fingerprint": object, "metadata": str
}  # fmt: skip


@dataclass(frozen=True)
class Fingerprint:
    """A generator or teacher: `identity` must be equal to be mixed, `numerics` is recorded."""

    identity: Mapping[str, Any]  # name, weights sha256, preprocessing, frame, metric, views
    numerics: Mapping[str, Any]  # torch version, CPU capability, batch shape

    @property
    def text(self) -> str:
        """One for one value: it travels to workers."""
        return canonical_json(asdict(self))


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a store is and comes of, known before it is built."""

    kind: str  # faces or teacher
    round: str
    manifest_digest: str
    faces_root: str | None  # a teacher store names the faces it embeds
    fingerprint: Fingerprint
    lineage: Mapping[str, Any]
    licences: Mapping[str, str]
    shard_rows: int = 1024  # of one image shard, and of one task
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, kw_only=True)
class Passport(Provenance):
    """Written last; a store without one does not open. Holds no time, host or cost.

    Version 2 adds `metadata` and a digest over the passport itself, so that a changed byte in
    either is noticed on opening; version 1 is read without both. Since version 3 the arrays name
    their dimensions.
    """

    num_rows: int
    num_ok: int
    failures: Mapping[str, int]
    merkle_root: str
    num_files: int = 0  # beside this one: a store that lost a file does not open
    metadata: Mapping[str, str] = field(default_factory=dict)  # {path: sha256} of each zarr.json

    @property
    def found(self) -> str:
        """Its rows, and why some are not usable, in words."""
        reasons = ", ".join(f"{count:,} {name}" for name, count in sorted(self.failures.items()))
        usable = f"{self.num_ok:,} of {self.num_rows:,} rows are usable"
        return f"{usable} ({reasons})" if reasons else usable

    @property
    def synthetic_source(self) -> str | None:
        """What whoever imported the faces states to have made them."""
        return self._stated("synthetic_source")

    @property
    def real_faces(self) -> str | None:
        """What whoever adopted photographs states of the people on them; of a teacher, what is
        stated of those whom it was trained on here."""
        return self._stated("real_faces")

    def _stated(self, what: str) -> str | None:
        stated = self.fingerprint.identity.get(what)
        return None if stated is None else str(stated)

    def write(self, store: Path) -> None:
        values = asdict(self)
        write_text(store / NAME, _canonical({**values, "digest": _digest(values)}))

    @classmethod
    def read(cls, store: Path) -> Passport:
        """Parses a store's passport.

        Raises InputError if there is none, or if a byte of it is not as it was written.
        """
        path = store / NAME
        if not path.is_file():
            what = "is unfinished (it has no passport)" if store.exists() else "does not exist"
            instead = ", or bring it again" if store.exists() else _others(store)
            raise InputError(f"{store}: this store {what}; run {maker_of(store)}{instead}")
        return cls.read_file(path)

    @classmethod
    def read_file(cls, path: Path) -> Passport:
        """One that lies elsewhere, as in a take-away. Raises InputError."""
        try:
            return _parse(path, _read_bytes(path))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{path}: not a passport ({error}); build the store again") from None


def _others(store: Path) -> str:
    """Rounds or teachers beside one that is not there: its name may be another."""
    what, names = "round", [own.parent.name for own in store.parent.parent.glob(f"*/{FACES}")]
    if store.parent.name == "teachers":
        what, names = "teacher", [own.stem for own in store.parent.glob("*.zarr")]
    elif store.name != FACES:
        names = []
    return f", or name a {what} that is here: {', '.join(sorted(names)[:20])}" if names else ""


def _read_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise ValueError(f"larger than {LARGEST} bytes")
    return raw


def _parse(path: Path, raw: bytes) -> Passport:
    values = parse_json(raw)
    _check_version(path, values["schema_version"])
    if values["schema_version"] >= 2:
        digest = values.pop("digest")
        if digest != _digest(values) or raw != _canonical({**values, "digest": digest}).encode():
            raise ValueError("its bytes are not those that were written")
    _check_types(values)
    values["fingerprint"] = Fingerprint(**values["fingerprint"])
    return Passport(**values)


def _check_version(path: Path, version: Any) -> None:
    if type(version) is not int or version < 1:
        raise ValueError(f"schema version {str(version)[:40]}")
    if version > SCHEMA_VERSION:  # before the fields, of which a later version may have more
        raise InputError(
            f"{path}: schema version {version}, this code reads up to {SCHEMA_VERSION}; "
            "update Facestill"
        )


def _check_types(values: Mapping[str, Any]) -> None:
    """Values of a stranger are used like our own from here on: in paths, sums and on screens."""
    for name in COUNTS:
        value = values.get(name, 0)
        _require(name, value, type(value) is int and value >= 0)
    shard_rows = values.get("shard_rows", 1)
    _require("shard_rows", shard_rows, 1 <= shard_rows <= MOST_SHARD_ROWS)
    for name, form in FORMS.items():
        value = values[name]
        absent = value is None and name == "faces_root"
        text = type(value) is str and len(value) <= LONGEST_TEXT and form.fullmatch(value)
        _require(name, value, absent or bool(text))
    for name, kind in MAPPINGS.items():
        value = values.get(name, {})
        _require(name, value, type(value) is dict)
        for item in value.values():
            _require(name, item, kind is object or type(item) is kind)
    made_by = values["fingerprint"]
    _require("fingerprint", made_by, all(type(part) is dict for part in made_by.values()))
    counts = [values["num_ok"], *values["failures"].values()]
    _require("num_ok or failures", counts, all(0 <= n <= values["num_rows"] for n in counts))
    _require("sum of num_ok and failures", counts, sum(counts) <= values["num_rows"])


def _require(name: str, value: Any, sound: bool) -> None:
    if not sound:
        raise ValueError(f"{name} is {str(value)[:80]!r}")


def _digest(values: Mapping[str, Any]) -> str:
    return sha256_text(canonical_json(dict(values)))


def _canonical(values: Mapping[str, Any]) -> str:
    return canonical_json(dict(values)) + "\n"
