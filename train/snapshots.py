"""Export a run's student of each epoch as ONNX teachers into runs/teachers/RUN/.

    facestill snapshots tutor
    facestill embed identities --teacher onnx:runs/teachers/tutor

One ONNX file a snapshot, RUN-NNN.onnx, whose embeddings of a round lie in teachers/RUN-NNN.zarr:
the stores that multi-step distillation (PocketNet, IEEE Access 2022) takes turns with, in
params.yaml `train: {snapshots: [tutor-000, …]}`. A run keeps its snapshots if params.yaml says
`train: {engine: {keep_epochs: true}}`.
"""

from __future__ import annotations

import json
from pathlib import Path

from manifests.core import layout
from manifests.core.errors import InputError, Parser, conclude, run_command
from manifests.core.files import put, require_new
from manifests.core.locks import writing
from manifests.core.progress import Bar
from train.checkpoint import FILE, SNAPSHOTS, Student, load_student
from train.exporting.facts import licence_of, store_facts
from train.exporting.graph import declaration, declared, to_onnx


def snapshots_of(run: Path) -> list[Path]:
    """The folders of a run's snapshots, in the order of its epochs."""
    found = sorted(path.parent for path in (run / SNAPSHOTS).glob(f"*/{FILE}"))
    if not found:
        raise InputError(
            f"{run / SNAPSHOTS}: no snapshots; train the run with keep_epochs: true "
            "(params.yaml: train: engine)"
        )
    return found


def as_teacher(student: Student, name: str) -> bytes:
    """The bytes of an ONNX file that declares how it is to be fed, and under which terms."""
    licence = licence_of(store_facts(json.loads(student.card.stores)))
    model = to_onnx(student.network, student.card.input_size, "float32")
    values = declaration(student.card, name=name, licence=licence)
    return declared(model, values, {})


def export_snapshots(
    run: Path, output: Path, *, last: bool = False, force: bool = False
) -> list[Path]:
    """Writes a file for each snapshot, or the last one; a finished one is written again, to the
    same bytes. Raises InputError for one of other bytes, unless `force` says that it may be lost.
    """
    folders = snapshots_of(run)[-1 if last else 0 :]
    files = []
    with writing(output):
        for folder in Bar(folders, desc=f"export {run.name}", unit="snapshot"):
            name = f"{run.name}-{folder.name}"
            files.append(output / f"{name}.onnx")
            data = as_teacher(load_student(folder), name)
            if files[-1].exists() and files[-1].read_bytes() != data:
                require_new(files[-1], force=force)
            put(files[-1], data)
    return files


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("run", type=layout.run_name, help="a run under runs/")
    parser.add_argument("--last", action="store_true", help="the last one alone")
    parser.add_force()
    args = parser.parse_args()
    output = layout.trained_teachers(args.run)
    files = export_snapshots(layout.run(args.run), output, last=args.last, force=args.force)
    found = ", ".join(file.stem for file in files)
    conclude(output, found, f"facestill embed ROUND --teacher onnx:{files[-1]}")


if __name__ == "__main__":
    run_command(main)
