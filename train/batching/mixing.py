"""Mixes: exact shares of faces of rounds, or of groups of people, the same ones whoever asks.

Whether a face is chosen is a function of a seed, of its id and of how many are wanted, never of the
order in which faces are looked at; a smaller number of them is a part of a larger one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt64

from manifests.core import layout
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.records.attributes import AttributeTable
from manifests.records.groups import Factor, groups_by
from manifests.settings.training import Mix
from train.batching.sources import NO_IDENTITY, Source, usable_identities

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


def facts_of(sources: Sequence[Source]) -> dict[str, Any]:
    """How many faces and identities of each round there are, and a digest of which."""
    digest = hashlib.sha256()
    counts = {}
    for source in sources:
        name = layout.round_of(source.faces.path)
        counts[name] = {
            "faces": len(source.usable),
            "identities": len(usable_identities(source)),
        }
        digest.update(f"{name}:{len(source.usable)}:".encode())
        digest.update(source.usable.astype("<i8").tobytes())
    return {"rounds": counts, "rows_sha256": digest.hexdigest()}


@dataclass(frozen=True)
class Mixed:
    """Faces by groups of people, and what they follow from."""

    sources: Sequence[Source]
    tables: Mapping[str, str]  # {path: digest} of those that tell groups
    facts: Mapping[str, Any]


def mix_groups(where: str, wanted: Mix, sources: Sequence[Source], seed: int) -> Mixed:
    """The sources with the faces of a mix of groups alone. The faces of one identity are of one
    group, by the mean of what was measured on them.

    Raises InputError, with the numbers, for a group with too few faces, for one that no face is
    of, and for a round without a table, or with one of other faces.
    """
    factors = [Factor.parsed(text) for text in wanted.by]
    groups, tables = [], {}
    for source in sources:
        name = layout.round_of(source.faces.path)
        if name not in wanted.tables:
            raise InputError(f"{where}: tables: none of round {name}; run `facestill annotate`")
        path = Path(wanted.tables[name])
        table = AttributeTable.read(path)
        table.require_faces(source.face_ids, source.faces.root)
        tables[path.as_posix()] = sha256_file(path)
        groups.append(np.array(groups_of_faces(factors, table, source), dtype=object))
    portions = []
    for group, share in wanted.shares.items():
        rows = {
            at: source.usable[own[source.usable] == group]
            for at, (source, own) in enumerate(zip(sources, groups, strict=True))
        }
        portions.append(Portion(f"{where}: group {group!r}{_others(sources, groups)}", share, rows))
    mixed = mix(sources, portions, wanted.faces, seed)
    return Mixed(mixed, tables, facts_of(mixed) | {"by_group": _counts(mixed, groups)})


def groups_of_faces(factors: Sequence[Factor], table: AttributeTable, source: Source) -> list[str]:
    """Of every face: its identity's, or its own where it has none."""
    alone = source.identities == NO_IDENTITY
    keys = np.where(alone, -1 - np.arange(len(alone)), source.identities)
    people, owner = np.unique(keys, return_inverse=True)
    found = groups_by(factors, table, owner, len(people))
    return [found[person] for person in owner.tolist()]


def _counts(sources: Sequence[Source], groups: Sequence[np.ndarray]) -> dict[str, int]:
    """Usable faces by group; those of no group are left out."""
    each = [own[source.usable] for source, own in zip(sources, groups, strict=True)]
    names, counts = np.unique(np.concatenate(each), return_counts=True)
    found = dict(zip(names.tolist(), counts.tolist(), strict=True))
    return {name: count for name, count in found.items() if name}


def _others(sources: Sequence[Source], groups: Sequence[np.ndarray]) -> str:
    counts = _counts(sources, groups)
    return f" (of {', '.join(f'{name} {count}' for name, count in counts.items()) or 'none'})"
