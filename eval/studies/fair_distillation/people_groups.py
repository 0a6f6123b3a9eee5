"""Groups of people by an attribute of their photographs, and pairs within the groups.

As in RFW, a pair is of two photographs of one group, and every group has folds of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int

from eval.benchmarks.base import NUM_FOLDS, Protocol
from eval.photos.photo_sets import open_photographs
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.photographs.names import Spellings
from manifests.photographs.protocols import Benchmark
from manifests.photographs.scores import subject_of
from manifests.records.attributes import MEASURED, AttributeTable
from manifests.studies.fair_distillation import WHERE, Fairness

LEAST_PAIRS = 20  # of each kind, in each group
OVERSAMPLING = 5  # half of the drawn pairs are of i < j, and some of those are genuine
FOLDS, IMPOSTORS, BALANCE = 1, 2, 3  # what a random stream is for, beside its seed


@dataclass(frozen=True)
class Groups:
    """Who belongs to which group of equally many people."""

    basis: str  # the attribute, in words
    titles: tuple[str, ...]  # in the order of its values
    of_person: Mapping[str, str]


@dataclass(frozen=True)
class GroupedPairs:
    """Pairs within groups. Accuracy is of the balanced ones: as many impostors as genuine pairs
    in each fold of each group; rates are of all."""

    benchmark: Benchmark
    balanced: Bool[np.ndarray, " pair"]
    titles: tuple[str, ...]
    basis: str

    @property
    def group(self) -> Sequence[str]:
        assert self.benchmark.group is not None
        return self.benchmark.group

    def count(self, title: str, *, same: bool) -> int:
        own = np.array([group == title for group in self.group])
        return int((own & (self.benchmark.same == same)).sum())


def medians(people: Sequence[str], values: Float[np.ndarray, " image"]) -> dict[str, float]:
    """Of each person, over the photographs where the value is defined; people without one are
    left out."""
    names, owner = np.unique(np.array(people, dtype=object), return_inverse=True)
    known = ~np.isnan(values)
    return {
        str(name): float(np.median(values[known & (owner == at)]))
        for at, name in enumerate(names)
        if (known & (owner == at)).any()
    }


def quantile_groups(basis: str, values: Mapping[str, float], count: int) -> Groups:
    """`count` groups of equally many people (to one), by rising values; people of equal values
    by their names."""
    order = sorted(values, key=lambda name: (values[name], name))
    parts = [part.tolist() for part in np.array_split(np.array(order, dtype=object), count)]
    firsts = [values[part[0]] for part in parts if part]
    edges = [f"{value:.4g}" for value in firsts[1:]]
    if len({*firsts}) < count or len({*edges}) < count - 1:
        raise InputError(
            f"groups by {basis}: {len({*values.values()})} values of {len(values)} people do not "
            f"part them into {count}; lower fairness: groups"
        )
    titles = [f"below {edges[0]}"]
    titles += [f"{low} to {high}" for low, high in pairwise(edges)]
    titles.append(f"from {edges[-1]}")
    of_person = {name: title for part, title in zip(parts, titles, strict=True) for name in part}
    return Groups(basis, tuple(titles), of_person)


def pairs_within(
    benchmark: Benchmark,
    person_of: Mapping[str, str],
    groups: Groups,
    *,
    impostors: int,
    seed: int,
) -> GroupedPairs:
    """All genuine pairs, and up to `impostors` seeded impostor pairs, evenly over the groups, of
    the photographs that a benchmark has. People are dealt to folds; a pair is in the fold of the
    person on its left.

    Raises InputError for a group with too few pairs of a kind.
    """
    rows: list[tuple[int, str, str, bool]] = []
    group: list[str] = []
    balanced: list[np.ndarray] = []
    for at, title in enumerate(groups.titles):
        images = [n for n in benchmark.images if groups.of_person.get(person_of[n]) == title]
        people, owner = np.unique([person_of[name] for name in images], return_inverse=True)
        fold = np.random.default_rng((seed, FOLDS, at)).permutation(len(people)) % NUM_FOLDS
        genuine, strangers = _pairs(owner, impostors // len(groups.titles), (seed, IMPOSTORS, at))
        require_pairs(f"{benchmark.name}, {groups.basis} {title}", len(genuine), len(strangers))
        both = np.concatenate([genuine, strangers])
        same = np.arange(len(both)) < len(genuine)
        rows += [
            (int(fold[owner[i]]), images[i], images[j], bool(kind))
            for (i, j), kind in zip(both.tolist(), same, strict=True)
        ]
        group += [title] * len(both)
        balanced.append(_balanced(same, fold[owner[both[:, 0]]], (seed, BALANCE, at)))
    folds, left, right, kinds = zip(*rows, strict=True)
    name = f"{benchmark.name} within groups"
    numbered = np.unique(np.array(folds), return_inverse=True)[1].astype(np.int16)
    pairs = Benchmark(
        name, numbered, left, right, np.array(kinds), benchmark.sha256, group=tuple(group)
    )
    return GroupedPairs(pairs, np.concatenate(balanced), groups.titles, groups.basis)


def require_pairs(where: str, genuine: int, impostors: int) -> None:
    """Raises InputError for a group of which nothing could be said."""
    if min(genuine, impostors) < LEAST_PAIRS:
        raise InputError(
            f"group {where}: {genuine} genuine and {impostors} impostor pairs, expected at least "
            f"{LEAST_PAIRS} of each; lower fairness: groups, or bring more photographs"
        )


def _pairs(
    owner: Int[np.ndarray, " image"], count: int, seed: tuple[int, ...]
) -> tuple[Int[np.ndarray, "genuine 2"], Int[np.ndarray, "impostor 2"]]:
    """Genuine pairs of images by their places, and up to `count` impostor pairs in random order,
    each with either side on the left."""
    genuine = [
        pair
        for person in range(int(owner.max(initial=-1)) + 1)
        for own in [np.flatnonzero(owner == person)]
        for pair in zip(*(own[side] for side in np.triu_indices(len(own), 1)), strict=True)
    ]
    rng, size = np.random.default_rng(seed), len(owner)
    codes = rng.choice(size * size, min(size * size, OVERSAMPLING * count), replace=False)
    left, right = codes // max(size, 1), codes % max(size, 1)
    apart = (left < right) & (owner[left] != owner[right])
    strangers = np.stack([left, right], axis=1)[apart][:count]
    turned = rng.random(len(strangers)) < 0.5
    strangers[turned] = strangers[turned][:, ::-1]
    return np.array(genuine, np.int64).reshape(-1, 2), strangers.reshape(-1, 2)


def _balanced(
    same: Bool[np.ndarray, " pair"], fold: Int[np.ndarray, " pair"], seed: tuple[int, ...]
) -> Bool[np.ndarray, " pair"]:
    """Equally many of both kinds in every fold, as many as the rarer one has there. (With as many
    in all folds together, a threshold for the other folds' majority is wrong in this one, and a
    network that knows nothing falls below one half.)"""
    rng, chosen = np.random.default_rng(seed), np.zeros(len(same), bool)
    for number in np.unique(fold):
        kinds = [np.flatnonzero((fold == number) & (same == kind)) for kind in (True, False)]
        least = min(len(rows) for rows in kinds)
        for rows in kinds:
            chosen[rng.permutation(rows)[:least]] = True
    return chosen


def own_groups(benchmark: Benchmark, basis: str) -> GroupedPairs:
    """Of a protocol that has groups, as RFW's: its own pairs.

    Raises InputError for a group with too few pairs of a kind.
    """
    titles = tuple(sorted({*(benchmark.group or ())} - {""}))
    found = GroupedPairs(benchmark, np.ones(len(benchmark.fold), bool), titles, basis)
    for title in titles:
        counts = (found.count(title, same=True), found.count(title, same=False))
        require_pairs(f"{benchmark.name}, {basis} {title}", *counts)
    return found


MOST = 0.5  # of the people: of fewer an attribute says nothing


def grouped_pairs(protocol: Protocol, photographs: str, fairness: Fairness) -> GroupedPairs:
    """Pairs within groups of people: a benchmark's own ones, or by the first attribute that is
    measured on most of its people. `photographs`: what `facestill annotate` calls them.

    Raises InputError for a table of other photographs, for people of whom too little is known,
    and for a group with too few pairs.
    """
    if protocol.benchmark.group is not None:
        return own_groups(protocol.benchmark, "group of the benchmark")
    rule = protocol.subject_rule
    if rule == "image":
        raise InputError(
            f"{photographs}: its names do not tell whose photographs they are; groups are of "
            "people: name the files PERSON/NUMBER.jpg"
        )
    table = photograph_table(photographs)
    row_of = {image: row for row, image in enumerate(table.label)}
    spellings = Spellings(table.label)
    labels = [spellings.find(name) for name in protocol.benchmark.images]
    if None in labels:
        missing = protocol.benchmark.images[labels.index(None)]
        raise InputError(f"{photographs}: nothing was measured on {missing}; annotate it again")
    rows = np.array([row_of[label] for label in labels if label is not None])
    person_of = {name: subject_of(name, rule) for name in protocol.benchmark.images}
    people = [person_of[name] for name in protocol.benchmark.images]
    groups = groups_of(photographs, people, table, rows, fairness)
    return pairs_within(
        protocol.benchmark, person_of, groups, impostors=fairness.impostors, seed=fairness.seed
    )


def groups_of(
    photographs: str,
    people: list[str],
    table: AttributeTable,
    rows: Int[np.ndarray, " image"],
    fairness: Fairness,
) -> Groups:
    """`people`: whose each image is; `rows`: where it is in the table."""
    for name in fairness.attributes:
        found = medians(people, table.column(name)[rows].astype(np.float64))
        if len(found) > MOST * len({*people}):
            return quantile_groups(name, found, fairness.groups)
    raise InputError(
        f"{WHERE}: fairness: attributes: {', '.join(fairness.attributes) or 'none'}: measured on "
        f"few of the people of {photographs}; there are {', '.join(table.names)}"
    )


def table_path(photographs: str) -> str:
    """Of the stage annotate-photographs."""
    name = photographs.partition(":")[0]
    return layout.photograph_attributes(name, MEASURED).as_posix()


def photograph_table(photographs: str) -> AttributeTable:
    """What was measured on exactly the photographs that are there."""
    path = layout.photograph_attributes(photographs.partition(":")[0], MEASURED)
    if not path.exists():
        raise InputError(f"{path}: no such file; run `facestill annotate --photographs`")
    table = AttributeTable.read(path)
    found = open_photographs(photographs).digest
    if table.source.digest != found:
        raise InputError(
            f"{path}: measured on photographs {table.source.digest[:12]}, at hand are "
            f"{found[:12]}; run `facestill annotate --photographs` again"
        )
    return table
