"""Groups of identities: whom a specialist is taught on, and the balanced control beside it.

MST-KD (ECCV-W 2024) teaches each of four teachers on the people of one ethnicity, and its control
on four quarters in which all are alike. Here a group is of a region of the teacher's space, of like
values of an attribute, or of a round. Which identities are of which group is a function of them and
of what is known of them, so that the groups of one rule never overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from manifests.core import layout
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.records.attributes import MEASURED, AttributeTable
from manifests.settings.objectives import BALANCED, REGION, ROUND, IdentityPart
from manifests.stores.reading import TeacherStore
from pipeline.arrays.neighbours import unit_rows
from train.batching.mixing import draws
from train.batching.sources import NO_IDENTITY, Source, usable_identities

SEED = 0  # of the balanced groups: one for all runs, whose groups would overlap otherwise
NO_GROUP = -1


@dataclass(frozen=True)
class People:
    """The identities that usable faces of several rounds have, and what is known of them."""

    home: Int[np.ndarray, " person"]  # place of their round
    number: Int[np.ndarray, " person"]  # in the round's manifest

    @classmethod
    def of(cls, sources: Sequence[Source]) -> People:
        found = [usable_identities(source) for source in sources]
        return cls(np.repeat(np.arange(len(found)), list(map(len, found))), np.concatenate(found))

    def means(
        self, sources: Sequence[Source], values: Sequence[Float[np.ndarray, "face _"]]
    ) -> Float[np.ndarray, "person _"]:
        """Over the usable faces of each where all values are defined; NaN where they are in
        none. `values`: by source, of every face."""
        found = np.full((len(self.home), values[0].shape[1]), np.nan)
        for at, (source, own) in enumerate(zip(sources, values, strict=True)):
            known = ~np.isnan(own[source.usable]).any(axis=1)
            rows = source.usable[known & (source.identities[source.usable] != NO_IDENTITY)]
            people = np.flatnonzero(self.home == at)
            place = np.searchsorted(self.number[people], source.identities[rows])
            sums = np.zeros((len(people), own.shape[1]))
            np.add.at(sums, place, own[rows])
            count = np.bincount(place, minlength=len(people))[:, None]
            found[people] = np.divide(sums, count, out=np.full_like(sums, np.nan), where=count > 0)
        return found


def only_part(
    sources: Sequence[Source], part: IdentityPart, teacher: str
) -> tuple[list[Source], dict[str, str]]:
    """The sources with the faces of one group's identities alone, and {path: digest} of the
    stores or tables that the groups follow from. `teacher`: whose regions.

    Raises InputError for another number of groups than there are rounds, for a group without
    identities, and for faces of which the attribute was not measured.
    """
    people = People.of(sources)
    groups, digests = _groups(people, sources, part, teacher)
    taken = groups == part.part
    if not taken.any():
        raise InputError(
            f"identities: part {part.part} of {part.parts} by {part.by}: none of "
            f"{len(groups)} identities is in it; ask for fewer parts, or name a round with more"
        )
    kept = []
    for at, source in enumerate(sources):
        own = people.number[taken & (people.home == at)]
        chosen = np.isin(source.identities[source.usable], own)
        kept.append(replace(source, usable=source.usable[chosen]))
    return kept, digests


def _groups(
    people: People, sources: Sequence[Source], part: IdentityPart, teacher: str
) -> tuple[Int[np.ndarray, " person"], dict[str, str]]:
    if part.by == BALANCED:
        return balanced_groups(people, part.parts), {}
    if part.by == ROUND:
        if part.parts != len(sources):
            raise InputError(
                f"identities: {part.parts} parts by round, of {len(sources)} rounds; say as many"
            )
        return people.home, {}
    if part.by == REGION:
        embeddings, digests = _embeddings(sources, teacher)
        return regions_of(unit_rows(people.means(sources, embeddings)), part.parts), digests
    values, digests = _measured(sources, part.by)
    return like_values(people.means(sources, values)[:, 0], part.parts), digests


def balanced_groups(people: People, parts: int) -> Int[np.ndarray, " person"]:
    """Dealt out in the order of a random number of each, which its round and number decide."""
    drawn = draws(people.number.astype(np.int64) + (people.home.astype(np.int64) << 40), SEED)
    groups = np.empty(len(drawn), int)
    groups[np.argsort(drawn, kind="stable")] = np.arange(len(drawn)) % parts
    return groups


def regions_of(points: Float[np.ndarray, "person width"], parts: int) -> Int[np.ndarray, " person"]:
    """`parts` regions of equally many points, to one: halved across the axis along which they
    spread most, and each half across its own (a k-d tree on principal axes)."""
    if parts == 1 or len(points) < 2:
        return np.zeros(len(points), int)
    centred = points - points.mean(axis=0)
    order = np.argsort(centred @ np.linalg.svd(centred, full_matrices=False)[2][0], kind="stable")
    below = parts // 2
    first, second = np.split(order, [len(points) * below // parts])
    groups = np.empty(len(points), int)
    groups[first] = regions_of(points[first], below)
    groups[second] = below + regions_of(points[second], parts - below)
    return groups


def like_values(values: Float[np.ndarray, " person"], parts: int) -> Int[np.ndarray, " person"]:
    """Equally many, to one, from the lowest values to the highest; who has none is in no group."""
    known = np.flatnonzero(~np.isnan(values))
    groups = np.full(len(values), NO_GROUP)
    ranked = known[np.argsort(values[known], kind="stable")]
    groups[ranked] = np.arange(len(known)) * parts // max(1, len(known))
    return groups


def _embeddings(
    sources: Sequence[Source], teacher: str
) -> tuple[list[Float[np.ndarray, "face width"]], dict[str, str]]:
    """Unit ones of the plain view, centred as all cosines here are."""
    found, digests = [], {}
    for source in sources:
        path = layout.teacher(layout.round_of(source.faces.path), teacher)
        store = TeacherStore.open(path, expect={"faces": source.faces.root})
        digests[path.as_posix()] = store.root
        found.append(unit_rows(store.embeddings()[:, 0].astype(np.float32) - store.centre()))
    return found, digests


def _measured(
    sources: Sequence[Source], attribute: str
) -> tuple[list[Float[np.ndarray, "face 1"]], dict[str, str]]:
    found, digests = [], {}
    for source in sources:
        path = layout.attributes(layout.round_of(source.faces.path), MEASURED)
        if not path.exists():
            raise InputError(
                f"{path}: no such file, and identities go by {attribute}; run `facestill annotate "
                f"{layout.round_of(source.faces.path)}`, or say {BALANCED}, {REGION} or {ROUND}"
            )
        table = AttributeTable.read(path)
        table.require_faces(source.face_ids, source.faces.root)
        found.append(np.asarray(table.column(attribute), np.float64)[:, None])
        digests[path.as_posix()] = sha256_file(path)
    return found, digests
