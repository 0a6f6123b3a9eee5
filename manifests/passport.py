"""Passport: what a store is, what it was made from, and the root over all its other files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from manifests.digests import canonical_json
from manifests.errors import InputError
from manifests.files import write_text

NAME = "passport.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Fingerprint:
    """A generator or teacher: `identity` must be equal to be mixed, `numerics` is recorded."""

    identity: Mapping[str, Any]  # name, weights sha256, preprocessing, frame, metric, views
    numerics: Mapping[str, Any]  # torch version, CPU capability, batch shape


@dataclass(frozen=True)
class Passport:
    """Written last; a store without one does not open. Holds no time, host or cost."""

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
    schema_version: int = field(default=SCHEMA_VERSION)

    def write(self, store: Path) -> None:
        write_text(store / NAME, canonical_json(asdict(self)) + "\n")

    @classmethod
    def read(cls, store: Path) -> Passport:
        path = store / NAME
        if not path.exists():
            what = "is unfinished (it has no passport)" if store.exists() else "does not exist"
            raise InputError(f"{store}: this store {what}; run the stage that builds it")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            _check_version(path, values["schema_version"])
            values["fingerprint"] = Fingerprint(**values["fingerprint"])
            passport = cls(**values)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}: not a passport ({error}); build the store again") from None
        return passport


def _check_version(path: Path, version: int) -> None:
    if version > SCHEMA_VERSION:  # before the fields, of which a later version may have more
        raise InputError(
            f"{path}: schema version {version}, this code reads up to {SCHEMA_VERSION}; "
            "update Facestill"
        )
