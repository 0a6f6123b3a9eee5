"""ORL (AT&T): 40 people, 10 grey photographs each; for reporting only, recipes never see it.

The frozen manifest is manifests/benchmarks/orl.parquet: 10 person-disjoint folds of 4 people,
all 1,800 genuine pairs and 1,800 seeded impostor pairs.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np

from eval.benchmarks.base import Protocol, subject_of
from manifests import layout
from manifests.benchmarks import Benchmark
from manifests.digests import sha256_file
from manifests.errors import InputError

NAME = "orl"
NUM_FOLDS, IMPOSTORS_PER_FOLD, SEED = 10, 180, 2026
SUBJECTS = [f"s{number}" for number in range(1, 41)]


def open_protocol(argument: str) -> Protocol:
    if argument:
        raise InputError(f"benchmark orl takes no folder, found {argument!r}")
    frozen = Benchmark.read(layout.BENCHMARKS / "orl.parquet")
    return Protocol(frozen, layout.WEIGHTS / "orl", all_pairs=True)


def freeze(folder: Path) -> Benchmark:
    """The protocol from a folder of s1/1.pgm … s40/10.pgm."""
    rng = np.random.default_rng(SEED)
    rows: list[tuple[int, str, str, bool]] = []
    for fold, people in enumerate(np.split(rng.permutation(SUBJECTS), NUM_FOLDS)):
        names = [f"{person}/{number}.pgm" for person in people for number in range(1, 11)]
        pairs = list(combinations(names, 2))
        genuine = [pair for pair in pairs if subject_of(pair[0]) == subject_of(pair[1])]
        strangers = [pair for pair in pairs if subject_of(pair[0]) != subject_of(pair[1])]
        drawn = rng.choice(len(strangers), IMPOSTORS_PER_FOLD, replace=False)
        rows += [(fold, *pair, True) for pair in genuine]
        rows += [(fold, *strangers[index], False) for index in sorted(drawn)]
    folds, left, right, same = zip(*rows, strict=True)
    missing = [name for name in {*left, *right} if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder / min(missing)}: missing; expected s1/1.pgm … s40/10.pgm")
    hashes = {name: sha256_file(folder / name) for name in sorted({*left, *right})}
    return Benchmark(NAME, np.array(folds, np.int16), left, right, np.array(same), hashes)
