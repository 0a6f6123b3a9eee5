"""A folder with one folder a person: all pairs of photographs, in person-disjoint folds.

People are dealt to folds by a seeded draw; a pair is of two photographs of one fold. Figures
that need no folds (TAR@FAR, rank-1) are over the pairs of all folds together.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eval.benchmarks.base import (
    NUM_FOLDS,
    SEED,
    Protocol,
    Row,
    all_pairs_of,
    as_benchmark,
    need_folder,
)
from manifests.core.errors import InputError
from manifests.photographs.images import ImageFolder, image_hashes
from manifests.photographs.listing import list_images, say_left_out

MOST_PAIRS = 5_000_000
MOST_IMAGES_ACROSS = 4_000  # above, folds are not compared with each other


def open_protocol(argument: str, *, square: bool = False) -> Protocol:
    """Raises InputError for too few people, or more pairs than anyone would want to keep."""
    root = need_folder("folder", argument, "one folder a person")
    people = _people(root)
    rows: list[Row] = []
    folds = _deal(root, people)
    num_pairs = sum(_pairs(sum(len(people[name]) for name in fold)) for fold in folds)
    if num_pairs > MOST_PAIRS:
        raise InputError(
            f"{root}: {num_pairs} pairs, at most {MOST_PAIRS}; name fewer in pairs:DIR or "
            "compare templates:DIR"
        )
    for number, fold in enumerate(folds):
        rows += all_pairs_of(number, [(name, people[name]) for name in fold])
    source = ImageFolder(root)
    names = {name for own in people.values() for name in own}
    hashes = image_hashes(source, names, square=square)
    benchmark = as_benchmark("folder", rows, hashes)
    across = len(benchmark.images) <= MOST_IMAGES_ACROSS
    return Protocol(benchmark, source, "folder", all_pairs=across, disjoint=True)


def _pairs(count: int) -> int:
    return count * (count - 1) // 2


def _people(root: Path) -> dict[str, list[str]]:
    """{person: image names}, sorted, of everyone with at least one image in a folder of theirs."""
    found: dict[str, list[str]] = {}
    elsewhere = []
    names = list_images(root)
    for name in names:
        person, _, rest = name.partition("/")
        if not rest or "/" in rest:
            elsewhere.append(name)
        else:
            found.setdefault(person, []).append(name)
    if elsewhere:
        say_left_out(root, elsewhere, len(names), "they lie in no folder PERSON of it")
    return found


def _deal(root: Path, people: dict[str, list[str]]) -> list[list[str]]:
    """People in folds, those with a genuine pair first, so that every fold has one."""
    drawn = [str(name) for name in np.random.default_rng(SEED).permutation(sorted(people))]
    several = [name for name in drawn if len(people[name]) > 1]
    num_folds = min(NUM_FOLDS, len(several), len(people) // 2)
    if num_folds < 2:
        raise InputError(
            f"{root}: {len(people)} people with photographs, {len(several)} of them with more "
            "than one; at least 4 and 2 are needed for two folds"
        )
    order = several + [name for name in drawn if len(people[name]) == 1]
    return [sorted(order[number::num_folds]) for number in range(num_folds)]
