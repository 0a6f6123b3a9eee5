"""Groups for the people of a benchmark, from a table: what `facestill annotate` measured on their
photographs, or a list that says it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from eval.benchmarks.base import Protocol
from eval.photos.photo_sets import is_photographs, open_photographs
from eval.scoring.intervals import pair_subjects
from manifests.core.digests import sha256_file
from manifests.core.errors import Faults, InputError
from manifests.photographs.lists import read_csv
from manifests.photographs.names import Spellings
from manifests.photographs.protocols import Benchmark
from manifests.photographs.scores import GROUP, subject_of
from manifests.records.attributes import AttributeTable
from manifests.records.groups import Factor, groups_by

LISTS = (["image", GROUP.name], ["subject", GROUP.name])
SHOWN = 12  # groups in a line


@dataclass(frozen=True)
class People:
    """The people of a benchmark's pairs, numbered from 0, and whose each image is."""

    left: Int[np.ndarray, " pair"]
    right: Int[np.ndarray, " pair"]
    of_image: Mapping[str, int]
    named: Mapping[str, int]  # by the names that a list may call them by
    count: int

    @classmethod
    def of(cls, protocol: Protocol) -> People:
        """Those whom genuine pairs make one are one, whatever the rule of names says."""
        own, rule = protocol.benchmark, protocol.subject_rule
        found = pair_subjects(own.left, own.right, own.same, rule)
        numbers = dict(zip((*own.left, *own.right), (*found.left, *found.right), strict=True))
        named = {subject_of(name, rule): int(number) for name, number in numbers.items()}
        images = {name: int(number) for name, number in numbers.items()}
        if own.templates is not None:
            members = zip(own.templates.template, own.templates.image, strict=True)
            images = {image: images[name] for name, image in members if name in images}
        return cls(found.left, found.right, images, named, found.count)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--groups", type=Path, metavar="TABLE", help="of the people: of facestill annotate, or CSV"
    )
    parser.add_argument(
        "--by", nargs="+", default=[], metavar="ATTRIBUTE", help="Asian,Black,White Male; or 'X<41'"
    )


def with_groups(protocol: Protocol, text: str, path: Path | None, by: Sequence[str]) -> Protocol:
    """A protocol whose pairs have the groups that the table at `path` gives to its people, instead
    of its own; `text` names the benchmark. Says on stderr how many people are in which.

    Raises InputError for a table of other photographs, or one that leaves everybody out.
    """
    if path is None:
        if by:
            raise InputError(f"--by {by[0]}: groups are of a table; name it with --groups")
        return protocol
    people = People.of(protocol)
    if path.suffix == ".csv":
        if by:
            raise InputError(f"{path}: says the groups itself; leave --by out")
        of_person, basis = _listed(path, people), path.name
    else:
        if not by:
            raise InputError(f"{path}: measured attributes; say with --by which make the groups")
        factors = [Factor.parsed(each) for each in by]
        of_person, basis = _measured(path, text, people, factors), f"{'; '.join(by)} of {path.name}"
    _say(path, of_person)
    benchmark = _grouped(protocol.benchmark, people, of_person)
    return replace(protocol, benchmark=benchmark, basis=f"{basis} {sha256_file(path)[:12]}")


def as_frozen(protocol: Protocol, frozen: Benchmark) -> Protocol:
    """With the groups that were frozen, where it has none of its own."""
    if protocol.benchmark.group is not None or frozen.group is None:
        return protocol
    if len(frozen.group) != len(protocol.benchmark.fold):
        return protocol  # not what was frozen, as is said with the pair
    benchmark = replace(protocol.benchmark, group=frozen.group)
    return replace(protocol, benchmark=benchmark, basis=frozen.recorded.get("groups", "frozen"))


def _grouped(benchmark: Benchmark, people: People, of_person: Sequence[str]) -> Benchmark:
    both = zip(people.left.tolist(), people.right.tolist(), strict=True)
    group = tuple(of_person[a] if of_person[a] == of_person[b] else "" for a, b in both)
    return replace(benchmark, group=group)


def _listed(path: Path, people: People) -> list[str]:
    """Raises InputError for a name that is not there, and for a person in two groups."""
    faults = Faults(str(path))
    said: dict[int, tuple[str, str]] = {}
    spellings: Spellings | None = None
    for where, row in read_csv(path, *LISTS, faults=faults):
        places = people.of_image if "image" in row else people.named
        spellings = spellings or Spellings(places)
        with faults:
            name = row.get("image") or row["subject"]
            found = spellings.find(name)
            if found is None:
                continue  # a list may be of more people than a benchmark compares
            group, before = said.setdefault(places[found], (row[GROUP.name], where))
            if group != row[GROUP.name]:
                raise InputError(
                    f"{where}: {name} is of group {row[GROUP.name][:80]!r}, the same person of "
                    f"{group[:80]!r} by {before}; correct one of them"
                )
    faults.raise_any()
    return [said[person][0] if person in said else "" for person in range(people.count)]


def _measured(path: Path, text: str, people: People, factors: Sequence[Factor]) -> list[str]:
    table = AttributeTable.read(path)
    if table.image is None:
        raise InputError(f"{path}: measured on stored faces; annotate {text} itself")
    if is_photographs(text) and table.source.digest != open_photographs(text).digest:
        raise InputError(
            f"{path}: measured on other photographs than {text} has; annotate it again"
        )
    spellings = Spellings(table.image)
    row_of = {name: row for row, name in enumerate(table.image)}
    owner = np.full(len(table), people.count)  # of the rest: one more, who is left out
    for name, person in people.of_image.items():
        found = spellings.find(name)
        if found is None:
            raise InputError(f"{path}: nothing was measured on {name}; annotate {text} again")
        owner[row_of[found]] = person
    return groups_by(factors, table, owner, people.count + 1)[: people.count]


def _say(path: Path, of_person: Sequence[str]) -> None:
    counts = {name: of_person.count(name) for name in sorted({*of_person} - {""})}
    if not counts:
        raise InputError(f"{path}: none of {len(of_person)} people is in a group")
    shown = [f"{name} {count}" for name, count in list(counts.items())[:SHOWN]]
    rest = [f"and {len(counts) - SHOWN} more groups"] if len(counts) > SHOWN else []
    missing = [f"in none {of_person.count('')}"] if "" in of_person else []
    print(f"people by group: {'; '.join([*shown, *rest, *missing])}", file=sys.stderr)
