"""Lineage: the way of a face back to the prior, from the rounds' manifests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from manifests.core.errors import InputError
from manifests.stores.latents import SIMILAR, LatentManifest


@dataclass(frozen=True)
class Ancestor:
    """One face of a lineage, by the manifest that holds it."""

    round: str
    row: int
    facts: dict[str, Any]  # the manifest's row without its latent

    @property
    def parent_id(self) -> int | None:
        return self.facts["parent_id"]


def trace(face_id: int, folder: Path) -> list[Ancestor]:
    """The face and its ancestors, itself first, from the manifests under `folder`.

    Raises InputError for a face that no manifest holds, or an ancestor that is missing.
    """
    manifests = dict(read_manifests(folder))
    line: list[Ancestor] = []
    wanted: int | None = face_id
    while wanted is not None:
        found = find(wanted, manifests)
        if found is None:
            what = "its parent is in no manifest" if line else "no manifest holds this face"
            raise InputError(f"face {wanted}: {what}; looked at {', '.join(manifests) or folder}")
        if any(found == earlier for earlier in line):
            raise InputError(f"face {wanted} is its own ancestor; sample the rounds again")
        line.append(found)
        wanted = found.parent_id
    return line


def read_manifests(folder: Path) -> Iterator[tuple[str, LatentManifest]]:
    """(name, manifest) of every round under a folder, those of other teams too."""
    for path in sorted(folder.rglob("*.parquet")):
        yield path.relative_to(folder).with_suffix("").as_posix(), LatentManifest.read(path)


def find(face_id: int, manifests: dict[str, LatentManifest]) -> Ancestor | None:
    for name, manifest in manifests.items():
        row = int(np.searchsorted(manifest.face_id, face_id))
        if row < len(manifest) and manifest.face_id[row] == face_id:
            facts = manifest.table.drop_columns(["latent"]).slice(row, 1).to_pylist()[0]
            return Ancestor(name, row, facts)
    return None


def describe(line: Sequence[Ancestor]) -> list[str]:
    """A line of text for every ancestor."""
    return [_sentence(ancestor) for ancestor in line]


def _sentence(ancestor: Ancestor) -> str:
    facts = ancestor.facts
    text = f"face {facts['face_id']}: round {ancestor.round}, row {ancestor.row}, "
    if facts["origin"] == "imported":
        return text + f"imported, source sha256 {facts['source_sha256']}"
    if facts["parent_id"] is None:
        return text + "drawn from the prior"
    by = f"by {facts['law']}, step {_number(facts['step'])}"
    if facts["origin"] == "boundary":
        side = "like" if facts["side"] == SIMILAR else "unlike"
        return text + f"identity {facts['identity_id']} ({side} its reference) {by}"
    return (
        text + f"{by}, from region {facts['region_id']}, where its parent's hardness was "
        f"{_number(facts['score'])}"
    )


def _number(value: float | None) -> str:
    """Another team's manifest may leave it empty."""
    return "unknown" if value is None else f"{value:.3f}"
