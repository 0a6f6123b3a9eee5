"""What a benchmark source promises: a file here with `open_protocol(argument, square=)`.

`square`: its images are crops already, as those of a source always are where its
`frame_of(argument)` names their frame. How others are aligned is no matter of a source's, but for
one whose images come with their points (and which says so: `POINTS = True`).
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from operator import itemgetter
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import coo_array

from eval.alignment import Alignment
from eval.scoring.intervals import pair_subjects
from eval.scoring.scored import repeated
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.photographs.columns import together
from manifests.photographs.images import DECODER, ImageFolder, ImageSource
from manifests.photographs.lists import read_qualities
from manifests.photographs.protocols import Benchmark
from manifests.photographs.scores import SubjectRule, subject_of
from pipeline.aligners.base import Picture
from pipeline.arrays.align import Face
from pipeline.arrays.frames import Frame

NUM_FOLDS, SEED = 10, 2026
DISJOINT = "subject-disjoint"
NEARLY = 0.1  # share of the pairs that may speak against a rule that nearly all agree with
MOST_NAMED = 4  # rows in a message
PAIRS = 1 << 16  # that are looked at in one go
FOLD = re.compile("[0-9]{1,3}")
LEAST_WEIGHT = 1e-6


@dataclass(frozen=True)
class Points:
    """Where the faces are, as a benchmark's own list says."""

    row: Mapping[str, int]  # of each image
    landmarks: Float[np.ndarray, "row 5 2"]  # of the scheme arcface5
    score: Float[np.ndarray, " row"]  # the detector's
    weigh: bool  # whether a face counts in its template as much as its score

    def faces(self, names: Sequence[str]) -> list[Face]:
        rows = [self.row[name] for name in names]
        return [Face(self.landmarks[row], float(self.score[row])) for row in rows]


@dataclass(frozen=True)
class Protocol:
    """A benchmark with its images, and how to read their names."""

    benchmark: Benchmark
    images: ImageSource
    subject_rule: SubjectRule = "image"
    all_pairs: bool = False  # small enough, and labelled, to compare every image with every other
    disjoint: bool = False  # no person may be in two folds
    basis: str = "as the benchmark has them"  # where its groups of people come from, if it has any
    # None: of points, and until `open_benchmark` has said which
    alignment: Alignment | None = None
    points: Points | None = None
    weights: Mapping[str, float] | None = None  # of images in their templates; None: alike

    def find(self, names: Sequence[str], pictures: Sequence[Picture]) -> list[Face]:
        """Where the faces are: as listed, as declared for crops, or detected in photographs."""
        if self.points is not None:
            return self.points.faces(names)
        assert self.alignment is not None
        return self.alignment.find(pictures)

    @property
    def frame(self) -> Frame | None:
        """Of images that are crops already."""
        return self.alignment.frame if self.alignment else None

    def aligned(self, alignment: Alignment) -> Protocol:
        """By this rule, which is in the hash."""
        benchmark = replace(self.benchmark, alignment=alignment.rule)
        return replace(self, benchmark=benchmark, alignment=alignment)

    def weighed(self, path: Path) -> Protocol:
        """Images count in their templates by the qualities of the table at `path`, scaled to 0…1
        over the benchmark's images (CR-FIQA, CVPR 2023, IJB-C); the rule is in the hash.

        Raises InputError where there are no templates, for images without a quality, and where
        all have the same.
        """
        own = self.benchmark
        if own.templates is None:
            raise InputError(
                f"--quality {path}: {own.name} has no templates to weigh images in; facestill "
                "discard asks what qualities are worth where photographs are compared"
            )
        quality = read_qualities(path)
        missing = [name for name in own.images if name not in quality]
        if missing:
            raise InputError(
                f"{path}: no quality of {missing[0]!r} and {len(missing) - 1} other images of "
                f"{own.name}; rate them: facestill face-quality --benchmark …"
            )
        found = np.array([quality[name] for name in own.images])
        if np.ptp(found) == 0:
            raise InputError(f"{path}: all images have the quality {found[0]:g}; nothing to weigh")
        # A template of the worst image alone would have no weight at all.
        scaled = np.maximum((found - found.min()) / np.ptp(found), LEAST_WEIGHT)
        rule = f"{own.alignment}; weighed by the qualities {sha256_file(path)[:12]}"
        weights = dict(zip(own.images, scaled.tolist(), strict=True))
        return replace(self, benchmark=replace(own, alignment=rule), weights=weights)

    @cached_property
    def of_one_picture(self) -> Bool[np.ndarray, " pair"]:
        return _of_one_picture(self.benchmark)

    @cached_property
    def repeated(self) -> Bool[np.ndarray, " pair"]:
        return repeated(self.benchmark.left, self.benchmark.right)

    @property
    def repeats(self) -> dict[str, int]:
        """What of it says less than its number, as metrics.json has it."""
        own = self.benchmark
        return {
            "num_images_repeated": len(own.images) - len({own.sha256[n] for n in own.images}),
            "num_pairs_of_one_picture": int(self.of_one_picture.sum()),
            "num_pairs_repeated": int(self.repeated.sum()),
        }

    def frozen(self) -> Benchmark:
        """With the facts that a frozen file records beside what it hashes."""
        facts = {
            "decoder": DECODER,
            "subject_rule": self.subject_rule,
            "folds": DISJOINT if self.disjoint else "as given",
            "frame": self.frame.name if self.frame else "",
            **({"groups": self.basis} if self.benchmark.group is not None else {}),
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


RULES: tuple[SubjectRule, ...] = ("folder", "stem")


def find_subject_rule(
    left: Sequence[str],
    right: Sequence[str],
    same: Sequence[bool],
    rules: Sequence[SubjectRule] = RULES,
) -> SubjectRule:
    """The first of the rules by which the names of all pairs agree with their labels."""
    for rule in rules:
        pairs = zip(left, right, same, strict=True)
        if all((subject_of(a, rule) == subject_of(b, rule)) == wanted for a, b, wanted in pairs):
            return rule
    return "image"


def require_possible(rows: Sequence[Row], where: Sequence[str]) -> None:
    """`where` says where each row stands.

    Raises InputError, naming the rows, for an image that is compared with itself, and for two
    people whom genuine pairs say to be one.
    """
    _, left, right, same = zip(*rows, strict=True)
    for place, (a, b) in enumerate(zip(left, right, strict=True)):
        if a == b:
            raise InputError(f"{where[place]}: {a} is compared with itself; remove this pair")
    people = pair_subjects(left, right, np.array(same), "image")
    wrong = np.flatnonzero((people.left == people.right) & ~np.array(same))
    if len(wrong):
        place = int(wrong[0])
        joined = [where[row] for row in _joining(rows, left[place], right[place])]
        raise InputError(
            f"{where[place]}: {left[place]} and {right[place]} are of two people here and of one "
            f"by {'; '.join(joined[:MOST_NAMED])}; correct one of them"
        )


def shared_groups(
    left: Iterable[str], right: Iterable[str], group_of: Mapping[str, str]
) -> tuple[str, ...]:
    """Of pairs of people: the group of both; "" where they are of two, or one is of none."""
    both = ((group_of.get(a, ""), group_of.get(b, "")) for a, b in zip(left, right, strict=True))
    return tuple(one if one == other else "" for one, other in both)


def require_one_group(
    rows: Sequence[Row], groups: Sequence[str], where: Sequence[str], rule: SubjectRule
) -> None:
    """Raises InputError, naming the rows, for a person in two groups, and where no pair has one."""
    if not any(groups):
        raise InputError(f"{where[0]}: no pair has a group; name them, or leave the column out")
    _, left, right, same = zip(*rows, strict=True)
    people = pair_subjects(left, right, np.array(same), rule)
    home: dict[int, int] = {}  # the row that first says whose group
    for row, group in enumerate(groups):
        for person, name in ((people.left[row], left[row]), (people.right[row], right[row])):
            if group and groups[home.setdefault(int(person), row)] != group:
                first = home[int(person)]
                raise InputError(
                    f"{where[row]}: {name} is of group {group[:80]!r} here, its person of "
                    f"{groups[first][:80]!r} by {where[first]}; correct one of them (a pair of two "
                    "groups' people has none)"
                )


def _joining(rows: Sequence[Row], start: str, end: str) -> tuple[int, ...]:
    """The fewest genuine pairs that lead from one image to the other."""
    met: dict[str, list[tuple[str, int]]] = {}
    for row, (_, a, b, same) in enumerate(rows):
        if same:
            met.setdefault(a, []).append((b, row))
            met.setdefault(b, []).append((a, row))
    found: dict[str, tuple[int, ...]] = {start: ()}
    queue = [start]
    for name in queue:
        for other, row in met.get(name, ()):
            if other not in found:
                found[other] = (*found[name], row)
                queue.append(other)
    return found[end]


def warn_of_labels(rows: Sequence[Row], where: Sequence[str]) -> None:
    """Says on stderr which pair keeps a rule from telling who is who, where nearly all agree."""
    against = [
        (rule, place)
        for rule in RULES
        for place, (_, a, b, same) in enumerate(rows)
        if (subject_of(a, rule) == subject_of(b, rule)) != same
    ]
    (rule, count), *_ = sorted(Counter(rule for rule, _ in against).items(), key=itemgetter(1))
    if count <= NEARLY * len(rows):
        place = next(place for own, place in against if own == rule)
        print(
            f"warning: {where[place]}: labelled against its {rule}, which says who is who in "
            f"{len(rows) - count} of {len(rows)} pairs; intervals are over images now, not people, "
            "until it is corrected",
            file=sys.stderr,
        )


def _of_one_picture(benchmark: Benchmark) -> Bool[np.ndarray, " pair"]:
    """Pairs whose sides are of the same bytes, or, of templates, share such an image."""
    members = benchmark.templates
    names = (members.template, members.image) if members else (benchmark.images,) * 2
    compared, left, right = together(benchmark.left, benchmark.right)
    place = {name: row for row, name in enumerate(compared)}
    holds = [(place[a], benchmark.sha256[b]) for a, b in zip(*names, strict=True) if a in place]
    rows, pictures = zip(*holds, strict=True)
    columns = np.unique(pictures, return_inverse=True)[1]
    has = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(compared), len(rows))).tocsr()
    shared = has[:, np.asarray((has > 0).sum(axis=0)).ravel() > 1]
    both = [
        shared[left[at : at + PAIRS]].multiply(shared[right[at : at + PAIRS]]).sum(axis=1)
        for at in range(0, len(left), PAIRS)
    ]
    return (np.concatenate(both) > 0) | (left == right)


def warn_of_repeats(protocol: Protocol) -> None:
    """Says on stderr, with an example, which images and pairs say less than their number."""
    own, figures = protocol.benchmark, protocol.repeats
    strangers = int((protocol.of_one_picture & ~own.same).sum())
    said = {
        "num_images_repeated": (None, f"of {len(own.images)} images are the very bytes of another"),
        "num_pairs_of_one_picture": (
            protocol.of_one_picture,
            f"of {len(own.fold)} pairs compare a picture with itself, {strangers} as two people",
        ),
        "num_pairs_repeated": (
            protocol.repeated,
            f"of {len(own.fold)} pairs stand there before and count twice",
        ),
    }
    for name, (rows, what) in said.items():
        if figures[name]:
            row = None if rows is None else int(np.argmax(rows))
            example = "" if row is None else f", as {own.left[row]} and {own.right[row]}"
            print(
                f"warning: benchmark {own.name}: {figures[name]} {what}{example}", file=sys.stderr
            )


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
    name: str, rows: Sequence[Row], hashes: dict[str, str], group: Sequence[str] | None = None
) -> Benchmark:
    """`group`: of both people of each pair, "" of no one group; None: nothing is known of any."""
    folds, left, right, same = zip(*rows, strict=True)
    groups = None if group is None else tuple(group)
    return Benchmark(
        name, np.array(folds, np.int16), left, right, np.array(same), hashes, group=groups
    )
