"""The data sets of the study fair-distillation: faces of rounds, by shares and by groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from manifests.core import layout
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.records.attributes import MEASURED, AttributeTable
from manifests.records.groups import Factor
from manifests.studies.fair_distillation import ALL, SOME, WHERE, DataSet, Group, Part
from train.batching.mixing import Portion, groups_of_faces, mix
from train.batching.sources import NO_IDENTITY, Source, num_usable


@dataclass(frozen=True)
class Chosen:
    """A data set's faces, and what they follow from."""

    sources: Sequence[Source]
    tables: Mapping[str, str]  # {relative path: digest} of those that told groups


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
            rows[place] = rows_of(part, data.rounds[place], sources[place], tables)
        people = f", {part.people.group}" if part.people else ""
        title = f"{WHERE}: data: {name}: part {at + 1} ({', '.join(part.rounds)}{people})"
        portions.append(Portion(title, part.share, rows))
    chosen = Chosen(mix(sources, portions, total, seed), tables)
    check_labels(f"{WHERE}: data: {name}", data.labels, chosen.sources)
    return chosen


def rows_of(
    part: Part, name: str, source: Source, tables: dict[str, str]
) -> Int[np.ndarray, " row"]:
    """The usable rows of a round that a part may take, ascending; digests of what told its groups
    go into `tables`."""
    rows = source.usable
    if part.group is not None:
        values = measured_table(name, source, MEASURED, tables).column(part.group.attribute)
        rows = rows[inside(values[rows], part.group)]
    if part.people is not None:
        table = measured_table(name, source, part.people.annotator, tables)
        factors = [Factor.parsed(text) for text in part.people.by]
        groups = np.array(groups_of_faces(factors, table, source), dtype=object)
        rows = rows[groups[rows] == part.people.group]
    return rows


def measured_table(
    name: str, source: Source, annotator: str, tables: dict[str, str]
) -> AttributeTable:
    """What was measured on a round's faces; its digest goes into `tables`.

    Raises InputError for a table that is not there, or was measured on other faces.
    """
    path = layout.attributes(name, annotator)
    if not path.exists():
        raise InputError(f"{path}: no such file; run `facestill annotate {name}`")
    table = AttributeTable.read(path)
    table.require_faces(source.face_ids, source.faces.root)
    tables[path.as_posix()] = sha256_file(path)
    return table


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
