"""ORL (AT&T): 40 people, 10 grey photographs each; for reporting only, recipes never see it.

The frozen manifest is manifests/benchmarks/orl.parquet: 10 person-disjoint folds of 4 people,
all 1,800 genuine pairs and 1,800 seeded impostor pairs.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np

from eval.benchmarks.base import NUM_FOLDS, SEED, Protocol, Row, as_benchmark, need_folder
from manifests.core import layout
from manifests.core.errors import InputError
from manifests.photographs.images import ImageFolder, image_hashes
from manifests.photographs.protocols import Benchmark
from manifests.photographs.scores import subject_of

NAME = "orl"
IMPOSTORS_PER_FOLD = 180
SUBJECTS = [f"s{number}" for number in range(1, 41)]


def open_protocol(argument: str, *, square: bool = False) -> Protocol:
    """The frozen protocol; with a folder of s1/1.pgm … s40/10.pgm, the one of that folder."""
    if square:
        raise InputError(f"benchmark {NAME} is of photographs, not of crops; leave --frame out")
    folder = layout.WEIGHTS / "orl"
    if argument:
        folder = need_folder(NAME, argument, "s1/1.pgm … s40/10.pgm")
        benchmark = build(folder)
    else:
        benchmark = Benchmark.read(layout.BENCHMARKS / "orl.parquet")
        benchmark.check_images(folder)
    return Protocol(benchmark, ImageFolder(folder), "folder", all_pairs=True, disjoint=True)


def build(folder: Path) -> Benchmark:
    """The protocol over a folder's photographs."""
    rng = np.random.default_rng(SEED)
    rows: list[Row] = []
    for fold, people in enumerate(np.split(rng.permutation(SUBJECTS), NUM_FOLDS)):
        names = [f"{person}/{number}.pgm" for person in people for number in range(1, 11)]
        pairs = list(combinations(names, 2))
        genuine = [pair for pair in pairs if _same(*pair)]
        strangers = [pair for pair in pairs if not _same(*pair)]
        drawn = rng.choice(len(strangers), IMPOSTORS_PER_FOLD, replace=False)
        rows += [(fold, *pair, True) for pair in genuine]
        rows += [(fold, *strangers[index], False) for index in sorted(drawn)]
    hashes = image_hashes(ImageFolder(folder), {name for row in rows for name in row[1:3]})
    return as_benchmark(NAME, rows, hashes)


def _same(left: str, right: str) -> bool:
    return subject_of(left, "folder") == subject_of(right, "folder")
