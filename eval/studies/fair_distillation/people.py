"""Which group the people of a benchmark belong to, by what was measured on their photographs."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from eval.benchmarks.base import Protocol
from eval.photos.photo_sets import open_photographs
from eval.studies.fair_distillation.people_groups import (
    GroupedPairs,
    Groups,
    medians,
    own_groups,
    pairs_within,
    quantile_groups,
)
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.photographs.scores import subject_of
from manifests.records.attributes import AttributeTable
from manifests.studies.fair_distillation import WHERE, Fairness

MEASURED = "measured"
MOST = 0.5  # of the people: of fewer an attribute says nothing


def grouped_pairs(protocol: Protocol, photographs: str, fairness: Fairness) -> GroupedPairs:
    """Pairs within groups of people: a benchmark's own ones, or by the first attribute that is
    measured on most of its people. `photographs`: what eval.annotate calls them.

    Raises InputError for a table of other photographs, for people of whom too little is known,
    and for a group with too few pairs.
    """
    if protocol.grouped:
        return own_groups(protocol.benchmark, "ethnicity, as the benchmark has it")
    rule = protocol.subject_rule
    if rule == "image":
        raise InputError(
            f"{photographs}: its names do not tell whose photographs they are; groups are of "
            "people: name the files PERSON/NUMBER.jpg"
        )
    table = photograph_table(photographs)
    row_of = {image: row for row, image in enumerate(table.label)}
    missing = next((name for name in protocol.benchmark.images if name not in row_of), None)
    if missing is not None:
        raise InputError(f"{photographs}: nothing was measured on {missing}; annotate it again")
    rows = np.array([row_of[name] for name in protocol.benchmark.images])
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
        raise InputError(f"{path}: no such file; run `python -m eval.annotate --photographs`")
    table = AttributeTable.read(path)
    found = open_photographs(photographs).digest
    if table.source.digest != found:
        raise InputError(
            f"{path}: measured on photographs {table.source.digest[:12]}, at hand are "
            f"{found[:12]}; run `python -m eval.annotate --photographs` again"
        )
    return table
