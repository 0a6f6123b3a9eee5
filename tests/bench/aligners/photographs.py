"""Photographs by each aligner: found, several faces, milliseconds; and how well the default
teacher tells people apart in the crops that they are cut to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from eval.benchmarks import open_benchmark
from eval.benchmarks.base import Protocol
from eval.scoring.intervals import identity_bootstrap
from eval.scoring.metrics import (
    FIGURES,
    PLACE,
    figures_of_pairs,
    fold_results,
    verification_statistic,
)  # fmt: skip
from eval.scoring.results import difference
from eval.scoring.scored import ScoredPairs
from eval.scoring.similarity import score_pairs
from manifests.core import layout
from manifests.core.progress import Bar
from manifests.photographs.images import AT_ONCE
from pipeline.aligners.base import LOOKED_AT, offsets
from pipeline.arrays.align import Face, crop_photograph
from pipeline.arrays.frames import ARCFACE112, DLIB150
from pipeline.arrays.numerics import BATCH, in_fixed_batches
from pipeline.teachers import load_teacher
from pipeline.teachers.base import Teacher
from tests.bench.aligners.contenders import Contender
from tests.bench.aligners.costs import in_turns, milliseconds
from tests.bench.aligners.shares import share
from tests.bench.students import one_thread

TEACHER = "dlib-resnet"
TIMED = 64  # photographs of a turn
OF_INTEREST = ("accuracy", "eer")
T = TypeVar("T")


def by_each(benchmark: str, contenders: Sequence[Contender]) -> dict[str, Any]:
    """Intervals are over people; differences are to the first aligner, of the same people."""
    protocol, teacher = open_benchmark(benchmark), load_teacher(TEACHER, layout.WEIGHTS)
    few = [protocol.images.picture(name) for name in protocol.benchmark.images[:TIMED]]

    def work(one: Contender) -> Callable[[], object]:
        return lambda: [one.aligner.find(part) for part in _parts(few, AT_ONCE)]

    with one_thread():
        taken = in_turns({one.name: work(one) for one in contenders}, "photographs")
    found, scored, cut = {}, {}, _crops(protocol, contenders[-1])
    for one in contenders:
        faces, scored[one.name] = _scored(one, protocol, teacher)
        found[one.name] = {
            "found": share(np.array([face.detected for face in faces])),
            "several_faces": share(np.array([face.others > 0 for face in faces])),
            "milliseconds_an_image": milliseconds(taken[one.name], len(few)),
            "off_arcface112": {
                kind: round(float(np.median(offsets(one.aligner, ARCFACE112, pictures))), 4)
                for kind, pictures in cut.items()
            },
            **_figures(scored[one.name], protocol, teacher),
        }
    first, *others = scored
    for name in others:
        found[name][f"less_{first}"] = _less(scored[name], scored[first], protocol, teacher)
    return found


def _crops(protocol: Protocol, by: Contender) -> dict[str, list[np.ndarray]]:
    """As many pictures as `misplaced` looks at, cut by one aligner to two frames, and uncut."""
    names = protocol.benchmark.images
    some = np.linspace(0, len(names) - 1, LOOKED_AT).astype(int).tolist()
    pictures = [protocol.images.picture(names[number]) for number in some]
    faces = by.aligner.find(pictures)
    cut = {
        frame.name: [
            crop_photograph(picture, face, frame).permute(1, 2, 0).byte().numpy()
            for picture, face in zip(pictures, faces, strict=True)
        ]
        for frame in (ARCFACE112, DLIB150)
    }
    sides = [min(picture.shape[:2]) for picture in pictures]
    squares = zip(pictures, sides, strict=True)
    return cut | {"uncut": [np.ascontiguousarray(each[:side, :side]) for each, side in squares]}


def _parts(items: Sequence[T], count: int) -> list[Sequence[T]]:
    return [items[at : at + count] for at in range(0, len(items), count)]


def _scored(one: Contender, protocol: Protocol, teacher: Teacher) -> tuple[list[Face], ScoredPairs]:
    """The face of every image, and all pairs by the teacher's embeddings of their crops."""
    names, faces, rows = protocol.benchmark.images, [], []
    label = f"{one.name}: {protocol.benchmark.name}"
    with Bar(total=len(names), desc=label, unit="image") as bar:
        for part in _parts(names, BATCH):
            crops = []
            for some in _parts(part, AT_ONCE):
                pictures = [protocol.images.picture(name) for name in some]
                seen = one.aligner.find(pictures)
                crops += [
                    crop_photograph(picture, face, teacher.frame)
                    for picture, face in zip(pictures, seen, strict=True)
                ]
                faces += seen
            rows.append(in_fixed_batches(teacher.embed, torch.stack(crops)).cpu().numpy())
            bar.update(len(part))
    failed = np.array([not face.detected for face in faces])
    embeddings = np.concatenate(rows)
    return faces, score_pairs(protocol.benchmark, names, embeddings, failed, teacher.metric)


def _figures(pairs: ScoredPairs, protocol: Protocol, teacher: Teacher) -> dict[str, Any]:
    all_of_them = figures_of_pairs(pairs, teacher.metric, protocol.subject_rule)
    wanted = ("accuracy", "accuracy_ci95_identity", "eer", "eer_ci95_identity", "num_pairs")
    return {name: all_of_them[name] for name in wanted}


def _less(a: ScoredPairs, b: ScoredPairs, protocol: Protocol, teacher: Teacher) -> dict[str, Any]:
    statistics = []
    for pairs in (a, b):
        folds = fold_results(pairs, teacher.metric)
        correct = folds[0].correct if folds else np.zeros(len(pairs), bool)
        statistics.append(verification_statistic(pairs, correct))
    resampled = identity_bootstrap(difference(*statistics), a.subjects(protocol.subject_rule))
    assert len(resampled.point) == len(FIGURES)
    return {name: resampled.figure(PLACE[name]) for name in OF_INTEREST}
