"""Measure how much of its teacher a student keeps into reports/retention/RUN.json.

    facestill retention mined-2 --rounds probe

Cosine of the student's outputs to the teacher's centred embeddings, and how many of a face's
nearest neighbours are the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from eval.gap import check_never_trained_on, student_embeddings
from eval.scoring.intervals import Z95
from eval.scoring.ranking import nearest
from manifests.core import layout
from manifests.core.errors import Parser, conclude, run_command
from manifests.core.files import write_json
from manifests.core.layout import POOL, PROBE
from manifests.settings.params import Params, load_params
from manifests.stores.reading import FaceStore, TeacherStore
from manifests.stores.rounds import open_round
from pipeline.arrays.neighbours import unit_rows
from pipeline.arrays.numerics import device_of
from train.checkpoint import Student, load_student

NEIGHBOURS = (1, 5, 10, 50)
VIEWS = ("plain", "mirrored")


def neighbour_overlaps(
    student: Float[np.ndarray, "face width"],
    teacher: Float[np.ndarray, "face other"],
    counts: Sequence[int],
) -> dict[int, Float[np.ndarray, " face"]]:
    """For each k the share of a face's k nearest other faces, by cosine, that both have.

    Needs more faces than the largest k; rows are of unit length.
    """
    most = max(counts, default=1)
    rows = [nearest(side, side, "cosine", most, itself=True)[0] for side in (student, teacher)]
    return {
        k: np.array(
            [np.intersect1d(own[:k], other[:k]).size / k for own, other in zip(*rows, strict=True)]
        )
        for k in counts
    }


def mean_with_interval(values: Float[np.ndarray, " face"]) -> dict[str, Any]:
    """Mean and its normal 95 % interval; synthetic faces are drawn independently."""
    half = Z95 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    mean = float(values.mean())
    return {"value": mean, "ci95": [mean - float(half), mean + float(half)]}


def retention_figures(
    outputs: Float[np.ndarray, "face view width"],
    targets: Float[np.ndarray, "face view width"],
    neighbours: Sequence[int] = NEIGHBOURS,
) -> dict[str, Any]:
    """Retention of centred teacher embeddings `targets` in a student's `outputs`.

    Neighbours are those of the plain view; an overlap is null where there are not more faces
    than neighbours, `chance` is what unrelated embeddings would have.
    """
    count = len(outputs)
    if not count:
        return {"num_faces": 0}
    student, teacher = (unit_rows(rows.astype(np.float64)) for rows in (outputs, targets))
    cosine = (student * teacher).sum(axis=2)
    possible = [k for k in neighbours if k < count]
    overlaps = neighbour_overlaps(student[:, 0], teacher[:, 0], possible)
    return {
        "num_faces": count,
        "cosine": {
            view: mean_with_interval(cosine[:, place])
            for place, view in enumerate(VIEWS[: cosine.shape[1]])
        },
        "neighbour_overlap": {
            str(k): {**mean_with_interval(overlaps[k]), "chance": k / (count - 1)}
            if k in overlaps
            else None
            for k in neighbours
        },
    }


def round_figures(
    student: Student,
    faces: FaceStore,
    teacher: TeacherStore,
    centre: Float[np.ndarray, " width"],
) -> dict[str, Any]:
    """Retention on a round's usable faces."""
    ok = faces.ok()
    outputs = student_embeddings(student, faces)[ok]
    targets = teacher.embeddings()[ok].astype(np.float32) - centre
    return {"teacher_root": teacher.root, **retention_figures(outputs, targets)}


def measure(run: str, rounds: Sequence[str], params: Params) -> dict[str, Any]:
    """The run's student on each round."""
    student = load_student(layout.run(run))
    student.network.to(device_of(params.device))
    centre = open_round(POOL, params.teacher).teacher.centre()
    opened = {name: open_round(name, params.teacher) for name in rounds}
    if PROBE in opened:
        check_never_trained_on(student, opened[PROBE].teacher)
    found = {
        name: round_figures(student, files.faces, files.teacher, centre)
        for name, files in opened.items()
    }
    return {"student_sha256": student.sha256, "teacher": params.teacher, "rounds": found}


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("run", type=layout.run_name, help="a run under runs/")
    parser.add_argument(
        "--rounds", type=layout.round_name, nargs="+", default=[PROBE], help="of stored faces"
    )
    args = parser.parse_args()
    found = measure(args.run, args.rounds, load_params())
    write_json(layout.retention_report(args.run), found)
    for name in args.rounds:
        figures = retention_text(found["rounds"][name])
        print(f"{args.run} on {name}: {figures}")
    conclude(layout.retention_report(args.run), "written", f"facestill export {args.run}")


def retention_text(figures: dict[str, Any]) -> str:
    if not figures["num_faces"]:
        return "no usable faces"
    overlaps = {k: entry for k, entry in figures["neighbour_overlap"].items() if entry}
    shares = ", ".join(f"@{k} {entry['value']:.3f}" for k, entry in overlaps.items())
    return (
        f"{figures['num_faces']} faces, cosine to the teacher "
        f"{figures['cosine']['plain']['value']:.3f}, neighbour overlap {shares}"
    )


if __name__ == "__main__":
    run_command(main)
