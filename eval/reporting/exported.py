"""The exported files of a run, for the report: sizes, times and what 8 bits cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.records.exports import INT8, LATENCY, RECORD, Export

ROLE = "student-int8"  # of the 8-bit file under reports/verify


def read_exported(
    run: str, student_sha256: str, benchmarks: Iterable[str]
) -> dict[str, Any] | None:
    """The files of the run's export; None where it was not exported.

    Raises InputError for the export of another student, and for a measurement of another 8-bit
    file than the one that is there.
    """
    folder = layout.export(run)
    if not (folder / RECORD).exists():
        return None
    export = Export.read(folder)
    if export.student.sha256 != student_sha256:
        raise InputError(
            f"{folder}: of student {export.student.sha256[:12]}, the student at hand is "
            f"{student_sha256[:12]}; export the run again"
        )
    return {
        "folder": folder.as_posix(),
        "files": {name: asdict(export.files[name]) for name in export.names},
        "int8": export.int8 and asdict(export.int8),
        "int8_accuracy": _int8_accuracy(folder, export, benchmarks),
        "latency": read_json(folder / LATENCY),
    }


def _int8_accuracy(folder: Path, export: Export, benchmarks: Iterable[str]) -> dict[str, float]:
    """{benchmark: accuracy} of the 8-bit file, where it was measured."""
    found = {}
    for name in benchmarks:
        path = layout.verification(name, ROLE) / "metrics.json"
        if INT8 not in export.files or not path.exists():
            continue
        metrics = read_json(path)
        if metrics["model_sha256"] != export.files[INT8].sha256:
            raise InputError(f"{path}: of another file than {folder / INT8}; run verify again")
        found[name] = float(metrics["accuracy"])
    return found
