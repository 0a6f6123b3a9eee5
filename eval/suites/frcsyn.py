"""FRCSyn: figures, training rules and submission files of its second edition (CVPR 2024).

How a suite calls it, everything in shares (0.955), not in per cent:

    check_subtask("1.1", faces_of_run(run))                  # refused with the number over the cap
    over_groups({group: accuracy}).trade_off                 # task 1, bupt: AVG - SD
    mean_over_sets({"agedb": …, "bupt": …, "cfp-fp": …, "rof": …})      # task 2
    gap(real=…, synthetic=…)                                 # of either figure
    threshold = best_threshold(pairs of an allowed training set)
    write_submission(out, "1.1", {"bupt": pairs}, threshold)

Sources: the organisers' pages (tasks, caps, ranking, results); arXiv 2404.10378; the released code
of the teams BioLab, BOVIFOCR-UFPR and INESC-IGD for what a submission is: the organisers tell that
behind a registration. Not known, and chosen here:

- whether SD is the population's or a sample's. The population's is taken (ddof 0, what numpy does
  unasked); over eight groups a sample's is 1.069 times as large.
- the gap's sign and divisor, (REAL - SYN) / SYN, are from memory of the paper: negative where the
  synthetic system is better, as the published tables are read.
- whether a teacher that saw photographs counts as real data. Idiap's SynthDistill, which has one,
  won sub-task 2.2, so nothing is refused for its teacher.

The first edition (WACV 2024) had other sub-tasks, with DCFace and GANDiffFace alone: not here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from eval.scoring.roc import roc
from eval.scoring.scored import ScoredPairs
from eval.suites.trained_on import TrainingFaces
from manifests.core.errors import InputError, pick
from manifests.core.files import write_text

TASK_1 = ("bupt",)  # BUPT-BalancedFace in eight groups: bias
TASK_2 = ("agedb", "bupt", "cfp-fp", "rof")  # overall performance
CAP = 500_000  # images
GROUPS = 8  # of BUPT-BalancedFace's people, by the rules
CASIA = "CASIA-WebFace"

System = Literal["baseline", "proposed"]


@dataclass(frozen=True)
class SubTask:
    """What may be trained on, and the sets that are scored."""

    sets: tuple[str, ...]
    synthetic: int | None  # images at most; None: as many as one likes
    photographs: str | None = None  # the only set of real images allowed; None: not one image


SUBTASKS = {
    "1.1": SubTask(TASK_1, CAP),
    "1.2": SubTask(TASK_1, None),
    "1.3": SubTask(TASK_1, CAP, CASIA),
    "2.1": SubTask(TASK_2, CAP),
    "2.2": SubTask(TASK_2, None),
    "2.3": SubTask(TASK_2, CAP, CASIA),
}


@dataclass(frozen=True)
class OverGroups:
    """Accuracy over demographic groups, in shares."""

    average: float
    deviation: float  # of the population
    worst: str  # the group of the lowest accuracy

    @property
    def trade_off(self) -> float:
        """What task 1 is ranked by: AVG - SD."""
        return self.average - self.deviation


def over_groups(accuracy: Mapping[str, float]) -> OverGroups:
    """AVG, SD and TO of {group: accuracy}. Raises InputError for fewer than two groups, or for an
    accuracy that is no share."""
    if len(accuracy) < 2:
        raise InputError(f"frcsyn: {len(accuracy)} groups of people; a spread needs at least two")
    _require_shares("group", accuracy)
    values = np.array(list(accuracy.values()))
    worst = min(accuracy, key=lambda group: (accuracy[group], group))
    return OverGroups(float(values.mean()), float(values.std()), worst)


def mean_over_sets(accuracy: Mapping[str, float], sets: Sequence[str] = TASK_2) -> float:
    """What task 2 is ranked by, of {set: accuracy}: every set counts once, however many pairs it
    has. Raises InputError where one of `sets` is missing."""
    missing = [name for name in sets if name not in accuracy]
    if missing:
        raise InputError(
            f"frcsyn: no accuracy on {', '.join(missing)}; the mean is over {', '.join(sets)}"
        )
    _require_shares("set", accuracy)
    return float(np.mean([accuracy[name] for name in sets]))


def gap(*, real: float, synthetic: float) -> float:
    """How far a system falls behind itself trained on real faces alone, as a share of its own
    figure; negative where synthetic faces serve it better. Raises InputError for a figure of 0."""
    if not synthetic > 0:
        raise InputError(f"frcsyn: a gap to a figure of {synthetic:g}; it must be above 0")
    return (real - synthetic) / synthetic


def _require_shares(what: str, accuracy: Mapping[str, float]) -> None:
    for name, value in accuracy.items():
        if not 0 <= value <= 1:
            raise InputError(f"frcsyn: {what} {name}: accuracy {value:g}, expected a share of 1")


def check_subtask(name: str, faces: TrainingFaces) -> None:
    """Raises InputError, with the number, for a student trained on what the sub-task forbids.

    Real faces of x.3 must be of CASIA-WebFace: the store's statement has to name it. The rules cap
    images alone; their 10,000 identities are an example.
    """
    task = pick("sub-task", name, SUBTASKS)
    kinds = "synthetic faces" + (f" and {task.photographs}" if task.photographs else " alone")
    if faces.unknown:
        raise InputError(
            f"{faces.run}: {faces.unknown:,} of its training faces have no stated source and may "
            f"be photographs; sub-task {name} allows {kinds}"
        )
    if faces.of_people and not _all_of(task.photographs, faces.statements):
        raise InputError(
            f"{faces.run}: trained on {faces.of_people}; sub-task {name} allows {kinds}"
        )
    if task.synthetic is not None and faces.synthetic_used > task.synthetic:
        over = faces.synthetic_used - task.synthetic
        raise InputError(
            f"{faces.run}: trained on {faces.synthetic_used:,} synthetic faces, {over:,} more than "
            f"the {task.synthetic:,} of sub-task {name}; train on fewer, or enter "
            f"{'no sub-task with a cap' if task.photographs else name[:2] + '2'}"
        )


def _all_of(allowed: str | None, statements: Sequence[str]) -> bool:
    def plain(text: str) -> str:
        return "".join(filter(str.isalnum, text.casefold()))

    return allowed is not None and all(plain(allowed) in plain(own) for own in statements)


def best_threshold(pairs: ScoredPairs) -> float:
    """The threshold of most right decisions on these pairs (accepted above it), halfway between
    two scores. The rules take it from training data of the sub-task, never from its evaluation
    sets. Of several as good the one that accepts fewest."""
    curve = roc(pairs.score, pairs.same)
    genuine = int(pairs.same.sum())
    right = curve.tar * genuine + (1 - curve.far) * (len(pairs) - genuine)
    best = int(np.argmax(right))
    levels = [float(pairs.score.max()) + 2.0, *curve.threshold.tolist()]
    levels[-1] = float(pairs.score.min()) - 2.0  # everybody is accepted
    above, at = levels[best : best + 2]
    between = (at + above) / 2
    return between if between < above else at  # neighbouring floats have nothing between them


def write_submission(
    out: Path,
    name: str,
    tables: Mapping[str, ScoredPairs],
    threshold: float,
    system: System = "proposed",
) -> list[Path]:
    """Writes OUT/SUB-TASK/SET/SYSTEM.txt of every set of the sub-task: a line a comparison, in the
    order of the comparison file, with score and decision: `0.53127014,1`. `system`: baseline is
    the one trained on real faces, from which the organisers compute the gap.

    Raises InputError, before a file is written, for a set that is missing or is none of the
    sub-task's, for a table with rows missing, and for a threshold that is not a number.
    """
    task = pick("sub-task", name, SUBTASKS)
    if set(tables) != set(task.sets):
        raise InputError(
            f"sub-task {name}: scores of {', '.join(sorted(tables)) or 'nothing'}, expected "
            f"exactly {', '.join(task.sets)}"
        )
    if not math.isfinite(threshold):
        raise InputError(f"sub-task {name}: threshold {threshold}; expected a finite number")
    texts = {own: _lines(f"sub-task {name}, {own}", tables[own], threshold) for own in task.sets}
    paths = [out / name / own / f"{system}.txt" for own in task.sets]
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(path, text)
    return paths


def _lines(where: str, pairs: ScoredPairs, threshold: float) -> str:
    """Whoever scores them goes by the line's number alone: a gap would shift all lines after."""
    order = np.argsort(pairs.pair_id, kind="stable")
    numbers = pairs.pair_id[order]
    astray = np.flatnonzero(numbers != np.arange(len(numbers)))
    if len(astray):
        raise InputError(
            f"{where}: comparison {astray[0]} is missing or there twice (found number "
            f"{numbers[astray[0]]}); verify the whole comparison file"
        )
    decided = zip(pairs.score[order].tolist(), pairs.score[order] > threshold, strict=True)
    return "".join(f"{score:.8f},{int(accepted)}\n" for score, accepted in decided)
