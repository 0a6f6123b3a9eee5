"""Figures of scored pairs, paired comparison and identification: seconds and peak memory.

    python -m tests.bench.evaluation STEP SIZE

Made-up people and embeddings: what is measured does not depend on whose faces they are. Every
step runs as a command of its own, so that its peak is its own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from eval.scoring.allpairs import all_pairs_figures
from eval.scoring.intervals import RESAMPLES, identity_bootstrap
from eval.scoring.metrics import figures_of, fold_results, verification_statistic
from eval.scoring.ranking import identify, nearest
from eval.scoring.scored import parse_scores
from eval.scoring.similarity import Faces
from manifests.photographs.scores import SCHEMA
from tests.process_costs import python

WIDTH = 128
FACES_EACH = 10
PAIRS = (10_000, 100_000)
FACES = (2_500, 5_000, 10_000)
Work = Callable[[], object]


def measure() -> dict[str, object]:
    return {
        "resamples": RESAMPLES,
        "pairs": _by_size("pairs", PAIRS),
        "faces": _by_size("faces", FACES),
        "a_whole_matrix_would_take_mb": FACES[-1] ** 2 * 8 >> 20,
    }


def _by_size(step: str, sizes: Sequence[int]) -> dict[str, object]:
    found = {}
    for size in sizes:
        cost = python("tests.bench.evaluation", step, str(size))
        found[str(size)] = {"peak_rss_mb": cost.peak_mb, **json.loads(cost.output)}
    return found


def people(count: int) -> Faces:
    """Unit embeddings around one centre a person."""
    rng = np.random.default_rng(count)
    subject = np.arange(count) // FACES_EACH
    centres = rng.standard_normal((int(subject[-1]) + 1, WIDTH))
    rows = centres[subject] + 1.2 * rng.standard_normal((count, WIDTH))
    return Faces(rows / np.linalg.norm(rows, axis=1, keepdims=True), subject)


def pairs_table(faces: Faces, count: int) -> pa.Table:
    """As many genuine as impostor pairs, ten folds by person."""
    rng = np.random.default_rng(1)
    same = np.arange(count) % 2 == 0
    left = rng.integers(len(faces), size=count)
    mate = faces.subject[left] * FACES_EACH + rng.integers(FACES_EACH, size=count)
    stranger = (left + FACES_EACH * rng.integers(1, len(faces) // FACES_EACH, count)) % len(faces)
    right = np.where(same, mate, stranger)
    scores = (faces.embeddings[left] * faces.embeddings[right]).sum(axis=1)
    names = [f"p{subject}/{row}.jpg" for row, subject in enumerate(faces.subject)]
    columns = [
        np.arange(count), faces.subject[left] % 10, [names[row] for row in left],
        [names[row] for row in right], same, scores, np.zeros(count, bool),
    ]  # fmt: skip
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def of_pairs(count: int) -> dict[str, float]:
    faces = people(20_000)
    found = {}
    tables = []
    found["score_seconds"] = _seconds(lambda: tables.append(pairs_table(faces, count)))
    found["all_figures_seconds"] = _seconds(lambda: figures_of(tables[0], "cosine", "folder"))
    found["paired_difference_seconds"] = _seconds(lambda: _paired(tables[0]))
    return found


def _paired(table: pa.Table) -> object:
    pairs = parse_scores(table)
    folds = fold_results(pairs, "cosine")
    assert folds is not None
    statistics = [verification_statistic(pairs, result.correct) for result in folds]
    return identity_bootstrap(
        lambda weights: statistics[0](weights) - statistics[1](weights), pairs.subjects("folder")
    )


def of_faces(count: int) -> dict[str, float]:
    faces = people(count)
    works: dict[str, Work] = {
        "identify_seconds": lambda: identify(faces, faces, "cosine", itself=True),
        "all_pairs_tar_seconds": lambda: all_pairs_figures(faces, "cosine"),
        "nearest_10_seconds": lambda: nearest(
            faces.embeddings, faces.embeddings, "cosine", 10, itself=True
        ),
    }
    return {name: _seconds(work) for name, work in works.items()}


def _seconds(work: Work) -> float:
    start = time.perf_counter()
    work()
    return round(time.perf_counter() - start, 2)


if __name__ == "__main__":
    steps = {"pairs": of_pairs, "faces": of_faces}
    json.dump(steps[sys.argv[1]](int(sys.argv[2])), sys.stdout)
