"""Measure a student's gap to its teacher on stored faces into data/gaps/RUN/.

    facestill gap start --rounds probe pool
    facestill gap start --children mined-1     of faces mined from this run's gaps

A table a round, and what it comes to in reports/gap/. gap = 1 - cosine of the centred embeddings,
per face, plain and mirrored. The round `probe` is never trained on: its mean gap is the figure to
follow. The pool's table is what mining reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch.nn import functional

from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.files import write_json
from manifests.core.layout import POOL, PROBE, round_name
from manifests.core.locks import writing
from manifests.core.progress import Bar
from manifests.records.gaps import GapTable
from manifests.settings.params import Params, load_params
from manifests.stores.latents import LatentManifest
from manifests.stores.reading import CHUNK_ROWS, FaceStore, TeacherStore
from manifests.stores.rounds import open_round
from pipeline.arrays.frames import Frame, to_frame
from pipeline.arrays.neighbours import disagreement, unit_rows
from pipeline.arrays.numerics import device_of, in_fixed_batches
from train.checkpoint import Student, load_student

READ_ROWS = 16 * CHUNK_ROWS
Z95 = 1.96  # standard errors of a 95 % interval
NEIGHBOURS = 10  # nearest faces that student and teacher are compared by


def student_embeddings(student: Student, faces: FaceStore) -> Float[np.ndarray, "face view width"]:
    """The student's outputs on every row of a store, plain and mirrored."""
    stored = Frame(**faces.frame)
    device = next(student.network.parameters()).device

    def both_views(batch: torch.Tensor) -> torch.Tensor:
        crops = batch.permute(0, 3, 1, 2).float().to(device)
        crops = to_frame(crops, stored, student.card.input_frame)
        outputs = [
            student.network(view.contiguous(memory_format=torch.channels_last))
            for view in (crops, crops.flip(3))
        ]
        return torch.stack(outputs, dim=1).cpu()

    parts = [np.empty((0, 2, student.card.embedding_width), np.float32)]
    starts = range(0, len(faces), READ_ROWS)
    with Bar(starts, desc=f"gap {faces.passport.round}", unit="block") as blocks:
        for at in blocks:
            images = torch.from_numpy(faces.images(at, min(at + READ_ROWS, len(faces))))
            parts.append(in_fixed_batches(both_views, images).numpy())
    return np.concatenate(parts)


def gaps(
    outputs: Float[np.ndarray, "face view width"], targets: Float[np.ndarray, "face view width"]
) -> Float[np.ndarray, "face view"]:
    """1 - cosine of student and centred teacher embeddings, per face and view."""
    cosine = functional.cosine_similarity(
        torch.from_numpy(outputs), torch.from_numpy(targets), dim=2
    )
    return (1.0 - cosine).numpy()


def impostor_margins(
    outputs: Float[np.ndarray, "face width"], targets: Float[np.ndarray, "face width"]
) -> Float[np.ndarray, " face"]:
    """Cosine of a student's output to its own target, less that to the nearest other face's.

    Negative: the student confuses this face with another one.
    """
    unit_outputs = functional.normalize(torch.from_numpy(outputs))
    unit_targets = functional.normalize(torch.from_numpy(targets))
    margins = []
    for at in range(0, len(outputs), READ_ROWS):
        cosine = unit_outputs[at : at + READ_ROWS] @ unit_targets.T
        rows = torch.arange(len(cosine))
        own = cosine[rows, at + rows].clone()
        cosine[rows, at + rows] = -2.0
        margins.append(own - cosine.max(dim=1).values)
    return torch.cat(margins).numpy() if margins else np.empty(0, np.float32)


def gap_table(
    student: Student,
    manifest: LatentManifest,
    faces: FaceStore,
    teacher: TeacherStore,
    centre: Float[np.ndarray, " width"],
) -> GapTable:
    """One row for every usable face of a round."""
    ok: Bool[np.ndarray, " face"] = faces.ok()
    outputs = student_embeddings(student, faces)[ok]
    targets = teacher.embeddings()[ok].astype(np.float32) - centre
    both = gaps(outputs, targets)
    margins = impostor_margins(outputs[:, 0], targets[:, 0])
    unassigned = np.full(len(both), -1, np.int32)
    flipped = disagreement(unit_rows(targets[:, 0]), unit_rows(outputs[:, 0]), NEIGHBOURS)
    return GapTable(
        manifest.face_id[ok], both[:, 0], both[:, 1], margins, unassigned, flipped,
        student.sha256, teacher.root,
    )  # fmt: skip


def check_never_trained_on(student: Student, teacher: TeacherStore) -> None:
    """Raises InputError if the student's card names the probe's embeddings, or its faces: all
    that a student without a teacher names."""
    roots = filter(None, (teacher.root, teacher.passport.faces_root))
    if any(root in student.card.stores for root in roots):
        raise InputError(f"{teacher.path}: this student was trained on it; it cannot be a probe")


def check_one_width(student: Student, teacher: TeacherStore) -> None:
    if student.card.embedding_width != teacher.width:
        raise InputError(
            f"{student.folder}: embeddings of width {student.card.embedding_width}, those of "
            f"{teacher.path} have {teacher.width}; a gap is to the teacher that taught the student "
            "(params.yaml: teacher)"
        )


def figures(table: GapTable) -> dict[str, float | int | None]:
    """What a table comes to; of no faces there is no gap, which 0 would call a perfect one."""
    both = np.concatenate([table.gap, table.flip_gap]).astype(np.float64)
    if not len(both):
        nothing = dict.fromkeys(("mean", "standard_error", "p95", "confused"))
        return {"num_faces": 0, **nothing}
    by_face = (table.gap.astype(np.float64) + table.flip_gap) / 2
    return {
        "num_faces": len(table.gap),
        "mean": table.mean,
        "standard_error": float(by_face.std() / np.sqrt(len(by_face))),
        "p95": float(np.quantile(both, 0.95)),
        "confused": float((table.impostor_margin < 0).mean()),
    }


def measure(run: str, names: Sequence[str], params: Params) -> tuple[Student, dict[str, GapTable]]:
    """The run's student, and its gap table on each round."""
    student = load_student(layout.run(run))
    student.network.to(device_of(params.device))
    centre = open_round(POOL, params.teacher).teacher.centre()
    tables = {}
    for name in names:
        files = open_round(name, params.teacher)
        check_one_width(student, files.teacher)
        if name == PROBE:
            if not files.faces.ok().any():
                raise InputError(f"{files.faces.path}: no usable face to measure a gap on")
            check_never_trained_on(student, files.teacher)
        manifest = files.require_manifest()
        tables[name] = gap_table(student, manifest, files.faces, files.teacher, centre)
    return student, tables


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("run", type=layout.run_name, help="a run under runs/")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--rounds", type=round_name, nargs="+", help="probe first, then others")
    what.add_argument(
        "--children", type=round_name, metavar="ROUND", help="a round mined from the run's gaps"
    )
    args = parser.parse_args()
    params = load_params()
    if args.children:
        with timed(f"children@{args.children}"):
            _, tables = measure(args.run, [args.children], params)
            tables[args.children].write(layout.children_gaps(args.children))
        found = in_words(figures(tables[args.children]))
        conclude(layout.children_gaps(args.children), f"{args.children} {found}, by {args.run}")
        return
    folder = layout.gap_report(args.run)
    with timed(f"gap@{args.run}"), writing(folder):
        student, tables = measure(args.run, args.rounds, params)
        write(args.run, student, tables)
    found = "; ".join(f"{name} {in_words(figures(own))}" for name, own in tables.items())
    rounds = [name for name, mined in params.mined.items() if mined.prev == args.run]
    following = f"mine {rounds[0]} --gaps {args.run}" if rounds else f"export {args.run}"
    conclude(folder, found, f"facestill {following}")


def in_words(found: Mapping[str, Any]) -> str:
    """Of a table's figures."""
    if not found["num_faces"]:
        return "no usable faces"
    low, high = (found["mean"] + way * Z95 * found["standard_error"] for way in (-1, 1))
    return f"gap {found['mean']:.4f} [{low:.4f}, {high:.4f}] of {found['num_faces']:,} faces"


def write(run: str, student: Student, tables: Mapping[str, GapTable]) -> None:
    """A table for every round, and their figures in the run's report."""
    for name, table in tables.items():
        table.write(layout.gap_table(run, name))
    report = {name: figures(table) for name, table in tables.items()}
    write_json(layout.gap_report(run), {"student_sha256": student.sha256, **report})


if __name__ == "__main__":
    run_command(main)
