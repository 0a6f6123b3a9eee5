"""The data sets of the study fair-distillation: faces of rounds, by shares and by groups.

Rounds are mixed by exact shares of faces, the same ones whoever asks. Whether a face is chosen is
a function of a seed, of its id and of how many are wanted, never of the order in which faces are
looked at; a smaller number of them is a part of a larger one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from manifests.core import layout
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.records.attributes import MEASURED, AttributeTable
from manifests.studies.fair_distillation import ALL, SOME, WHERE, DataSet, Group
from train.batching.sources import NO_IDENTITY, Source, num_usable, usable_identities

# Steele, Lea & Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014): SplitMix64.
STEP, FIRST, SECOND = (
    np.uint64(number) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


@dataclass(frozen=True)
class Portion:
    """What one part of a mix may take its faces from."""

    title: str  # to name it by when it falls short
    share: float
    rows: Mapping[int, Int[np.ndarray, " row"]]  # by place of the source


def quotas(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers that add up to `total`, each less than one from its share of it: the largest
    remainders are rounded up (Hamilton), the earlier of two equal ones first."""
    exact = [total * share for share in shares]
    counts = [math.floor(value) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda at: counts[at] - exact[at])
    for at in by_remainder[: total - sum(counts)]:
        counts[at] += 1
    return counts


def most_faces(available: Sequence[int], shares: Sequence[float]) -> int:
    """The largest total whose quotas there are enough faces for."""
    bounds = ((count + 1) / share for count, share in zip(available, shares, strict=True))
    total = math.ceil(min(bounds))  # from here on some quota is too large
    while any(q > a for q, a in zip(quotas(total, shares), available, strict=True)):
        total -= 1
    return total


def draws(face_ids: Int[np.ndarray, " face"], seed: int) -> UInt64[np.ndarray, " face"]:
    """A random number for each face, from its id and the seed alone."""
    start = np.array([seed], np.int64).view(np.uint64)
    return _mixed(np.asarray(face_ids, np.int64).view(np.uint64) ^ _mixed(start))


def _mixed(state: UInt64[np.ndarray, " face"]) -> UInt64[np.ndarray, " face"]:
    """SplitMix64 of each state: a bijection of the 64-bit numbers."""
    mixed = state + STEP
    mixed = (mixed ^ (mixed >> np.uint64(30))) * FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * SECOND
    return mixed ^ (mixed >> np.uint64(31))


def chosen(face_ids: Int[np.ndarray, " face"], count: int, seed: int) -> Int[np.ndarray, " chosen"]:
    """Places of the `count` faces with the smallest draws, ascending."""
    return np.sort(np.argsort(draws(face_ids, seed), kind="stable")[:count])


def mix(
    sources: Sequence[Source], portions: Sequence[Portion], total: int | None, seed: int
) -> list[Source]:
    """The sources with no other usable faces than those chosen, `total` in all, or as many as
    the shares allow.

    Raises InputError for a portion with fewer faces than its quota, for faces that two portions
    might both take, and for a mix without faces.
    """
    _check_apart(sources, portions)
    available = [sum(map(len, portion.rows.values())) for portion in portions]
    shares = [portion.share for portion in portions]
    wanted = quotas(most_faces(available, shares) if total is None else total, shares)
    for portion, need, have in zip(portions, wanted, available, strict=True):
        if need > have or not have:
            raise InputError(
                f"{portion.title}: {have} usable faces, its share of {portion.share:g} asks for "
                f"{need}; lower faces or the share, or add a round"
            )
    taken: dict[int, list[np.ndarray]] = {at: [] for at in range(len(sources))}
    for portion, need in zip(portions, wanted, strict=True):
        for at, rows in _taken(sources, portion, need, seed).items():
            taken[at].append(rows)
    return [
        replace(source, usable=np.sort(np.concatenate([source.usable[:0], *taken[at]])))
        for at, source in enumerate(sources)
    ]


def _taken(
    sources: Sequence[Source], portion: Portion, count: int, seed: int
) -> dict[int, Int[np.ndarray, " row"]]:
    """Rows by source. Of one round, or of several taken together."""
    home = np.concatenate([np.full(len(rows), at) for at, rows in portion.rows.items()])
    rows = np.concatenate(list(portion.rows.values()))
    ids = np.concatenate([sources[at].face_ids[rows] for at, rows in portion.rows.items()])
    places = chosen(ids, count, seed)
    return {at: rows[places[home[places] == at]] for at in portion.rows}


def _check_apart(sources: Sequence[Source], portions: Sequence[Portion]) -> None:
    for at, source in enumerate(sources):
        times = np.zeros(len(source.faces), int)
        for portion in portions:
            times[portion.rows.get(at, np.empty(0, int))] += 1
            if (times > 1).any():
                face = source.face_ids[np.argmax(times)]
                raise InputError(
                    f"{portion.title}: face {face} of {source.faces.path} may be of an earlier "
                    "part too; give them groups that do not overlap"
                )


@dataclass(frozen=True)
class Chosen:
    """A data set's faces, and what they follow from."""

    sources: Sequence[Source]
    tables: Mapping[str, str]  # {relative path: digest} of those that told groups

    @property
    def real_faces(self) -> dict[str, int]:
        """{what is stated of photographs of people: how many of them there are}."""
        found: dict[str, int] = {}
        for source in self.sources:
            stated = source.faces.passport.fingerprint.identity.get("real_faces")
            if stated is not None and len(source.usable):
                found[str(stated)] = found.get(str(stated), 0) + len(source.usable)
        return found

    def facts(self) -> dict[str, Any]:
        """How many faces and identities of each round there are, and a digest of which."""
        digest = hashlib.sha256()
        counts = {}
        for source in self.sources:
            name = layout.round_of(source.faces.path)
            counts[name] = {
                "faces": len(source.usable),
                "identities": len(usable_identities(source)),
            }
            digest.update(f"{name}:{len(source.usable)}:".encode())
            digest.update(source.usable.astype("<i8").tobytes())
        return {"rounds": counts, "rows_sha256": digest.hexdigest()}


def choose_faces(
    name: str, data: DataSet, sources: Sequence[Source], total: int | None, seed: int
) -> Chosen:
    """`sources`: the rounds of the data set, in its order, with all faces that may be used.

    Raises InputError where there are too few for a share, and for labels that they do not have.
    """
    portions: list[Portion] = []
    tables: dict[str, str] = {}
    for at, part in enumerate(data.parts):
        rows = {}
        for place in map(data.rounds.index, part.rounds):
            rows[place] = sources[place].usable
            if part.group is not None:
                values = group_values(data.rounds[place], sources[place], part.group, tables)
                rows[place] = rows[place][inside(values[rows[place]], part.group)]
        title = f"{WHERE}: data: {name}: part {at + 1} ({', '.join(part.rounds)})"
        portions.append(Portion(title, part.share, rows))
    chosen = Chosen(mix(sources, portions, total, seed), tables)
    check_labels(f"{WHERE}: data: {name}", data.labels, chosen.sources)
    return chosen


def group_values(
    name: str, source: Source, group: Group, tables: dict[str, str]
) -> Float[np.ndarray, " face"]:
    """The attribute of every face of a round; its table's digest goes into `tables`.

    Raises InputError for a table that is not there, or was measured on other faces.
    """
    path = layout.attributes(name, MEASURED)
    if not path.exists():
        raise InputError(f"{path}: no such file; run `facestill annotate {name}`")
    table = AttributeTable.read(path)
    table.require_faces(source.face_ids, source.faces.root)
    tables[path.as_posix()] = sha256_file(path)
    return table.column(group.attribute)


def inside(values: Float[np.ndarray, " face"], group: Group) -> Bool[np.ndarray, " face"]:
    """Where low <= value < high; a face whose value is undefined (NaN) is in no group."""
    low = -np.inf if group.low is None else group.low
    high = np.inf if group.high is None else group.high
    return (values >= low) & (values < high)


def check_labels(where: str, labels: str, sources: Sequence[Source]) -> None:
    """Raises InputError if faces lack the identities that the data set is said to have."""
    unknown = {
        layout.round_of(source.faces.path): int(
            (source.identities[source.usable] == NO_IDENTITY).sum()
        )
        for source in sources
    }
    total, missing = num_usable(sources), sum(unknown.values())
    if labels == ALL and missing:
        worst = max(unknown, key=lambda name: unknown[name])
        raise InputError(
            f"{where}: labels: all, but {missing} of {total} faces have no identity ({worst}: "
            f"{unknown[worst]}); say some, or none"
        )
    if labels == SOME and missing == total:
        raise InputError(f"{where}: labels: some, but none of its faces has an identity; say none")
