"""Equally many faces, and where said identities, of every training set.

A face, or an identity, is drawn by its id and a seed, whatever its place and the other rounds, as
in train.batching.mixing: the same faces for all students of a set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.studies.training_sets import WHERE
from train.batching.mixing import Portion, chosen, mix
from train.batching.sources import NO_IDENTITY, Source, num_usable

OF_A_ROUND = 1 << 40  # identities, at most


@dataclass(frozen=True)
class Faces:
    """The usable faces of several rounds as one list."""

    home: Int[np.ndarray, " face"]  # place of its source
    row: Int[np.ndarray, " face"]
    face_id: Int[np.ndarray, " face"]
    person: Int[np.ndarray, " face"]  # a number of each identity, the same whatever the rounds

    @classmethod
    def of(cls, sources: Sequence[Source]) -> Faces:
        """Two rounds share no identity."""
        rows = [source.usable for source in sources]
        people = [
            np.where(known == NO_IDENTITY, NO_IDENTITY, known.astype(np.int64) + at * OF_A_ROUND)
            for at, source in enumerate(sources)
            for known in [source.identities[source.usable]]
        ]
        return cls(
            np.repeat(np.arange(len(sources)), [len(own) for own in rows]),
            np.concatenate(rows),
            np.concatenate([s.face_ids[own] for s, own in zip(sources, rows, strict=True)]),
            np.concatenate(people),
        )


def draw(
    name: str,
    sources: Sequence[Source],
    faces: int,
    identities: int | None,
    seed: int,
    where: Path = WHERE,
) -> list[Source]:
    """The sources of set `name`, which stands in file `where`, with no other usable faces than
    those drawn.

    Raises InputError, with the numbers, for a set that has fewer faces, or fewer identities of
    faces / identities faces each.
    """
    if identities is None:
        _require(where, name, sources, num_usable(sources), faces, "usable faces")
        rows = {at: source.usable for at, source in enumerate(sources)}
        return mix(sources, [Portion(name, 1.0, rows)], faces, seed)
    found = Faces.of(sources)
    sizes = faces // identities, identities
    places = _of_identities(where, name, sources, found, *sizes, seed)
    return [
        replace(source, usable=np.sort(found.row[places[found.home[places] == at]]))
        for at, source in enumerate(sources)
    ]


def _of_identities(
    where: Path,
    name: str,
    sources: Sequence[Source],
    found: Faces,
    each: int,
    count: int,
    seed: int,
) -> Int[np.ndarray, " face"]:
    known = np.flatnonzero(found.person != NO_IDENTITY)
    people, sizes = np.unique(found.person[known], return_counts=True)
    able = people[sizes >= each]
    what = f"identities of at least {each} usable faces"
    _require(where, name, sources, len(able), count, what)
    drawn = able[chosen(able % OF_A_ROUND, count, seed)]  # by the manifest's own number
    parts = []
    for person in drawn:
        own = np.flatnonzero(found.person == person)
        parts.append(own[chosen(found.face_id[own], each, seed)])
    return np.concatenate(parts)


def _require(
    where: Path, name: str, sources: Sequence[Source], have: int, want: int, what: str
) -> None:
    if have < want:
        rounds = ", ".join(layout.round_of(source.faces.path) for source in sources)
        raise InputError(
            f"{where}: sets: {name} ({rounds}): {have:,} {what}, {want:,} are asked for; lower "
            "faces or identities for all sets, or add a round"
        )
