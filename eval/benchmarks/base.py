"""What a benchmark source promises: a file here with `open_protocol(argument) -> Protocol`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from manifests.core.errors import InputError
from manifests.photographs.images import DECODER, ImageFolder, ImageSource
from manifests.photographs.protocols import Benchmark
from manifests.photographs.scores import SubjectRule, subject_of
from pipeline.arrays.frames import Frame

NUM_FOLDS, SEED = 10, 2026
DISJOINT = "subject-disjoint"
FOLD = re.compile("[0-9]{1,3}")


@dataclass(frozen=True)
class Protocol:
    """A benchmark with its images, and how to read their names."""

    benchmark: Benchmark
    images: ImageSource
    subject_rule: SubjectRule = "image"
    all_pairs: bool = False  # small enough, and labelled, to compare every image with every other
    frame: Frame | None = None  # of images that are aligned already
    grouped: bool = False  # the first folder of a name is a group of people
    disjoint: bool = False  # no person may be in two folds

    def frozen(self) -> Benchmark:
        """With the facts that a frozen file records beside what it hashes."""
        facts = {
            "decoder": DECODER,
            "subject_rule": self.subject_rule,
            "folds": DISJOINT if self.disjoint else "as given",
            "frame": self.frame.name if self.frame else "",
        }
        return replace(self.benchmark, recorded=facts)


def need_folder(kind: str, argument: str, holds: str) -> Path:
    """The folder that a benchmark of this kind was given."""
    if not argument:
        raise InputError(f"benchmark {kind} needs a folder: {kind}:DIR with {holds}")
    folder = Path(argument)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; {kind}:DIR needs {holds}")
    return folder


def parse_fold(where: str, text: str) -> int:
    if not FOLD.fullmatch(text):
        raise InputError(f"{where}: fold {text[:40]!r}, expected 0, 1, 2, …")
    return int(text)


def named(where: str, source: ImageFolder, name: str) -> str:
    """What to call an image that a list names: so, but with slashes for backslashes of Windows,
    by which nobody's folder is told.

    Raises InputError with the line where an image is named that is not in the folder.
    """
    try:
        is_there = source.find(name) == source.root / name
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return name if is_there else name.replace("\\", "/")


def find_subject_rule(
    left: Sequence[str], right: Sequence[str], same: Sequence[bool]
) -> SubjectRule:
    """The rule by which the names of all pairs agree with their labels."""
    rules: tuple[SubjectRule, ...] = ("folder", "stem")
    for rule in rules:
        pairs = zip(left, right, same, strict=True)
        if all((subject_of(a, rule) == subject_of(b, rule)) == wanted for a, b, wanted in pairs):
            return rule
    return "image"


def require_disjoint(benchmark: Benchmark, rule: SubjectRule) -> None:
    """Raises InputError naming the first person who is in two folds."""
    home: dict[str, int] = {}
    for fold, *pair in zip(benchmark.fold.tolist(), benchmark.left, benchmark.right, strict=True):
        for subject in (subject_of(name, rule) for name in pair):
            if home.setdefault(subject, fold) != fold:
                raise InputError(
                    f"benchmark {benchmark.name}: {subject} is in folds {home[subject]} and "
                    f"{fold}, which are declared to share nobody"
                )


Row = tuple[int, str, str, bool]


def all_pairs_of(fold: int, people: Iterable[tuple[str, Sequence[str]]]) -> list[Row]:
    """Every pair of images of these people, as rows of a fold."""
    images = [(name, person) for person, names in people for name in names]
    return [(fold, a, b, p == q) for (a, p), (b, q) in combinations(images, 2)]


def as_benchmark(
    name: str, rows: Sequence[Row], hashes: dict[str, str], alignment: str
) -> Benchmark:
    folds, left, right, same = zip(*rows, strict=True)
    return Benchmark(
        name, np.array(folds, np.int16), left, right, np.array(same), hashes, alignment
    )
