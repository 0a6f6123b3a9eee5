"""What an export depends on: the run, its stores, and how it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from manifests.core import layout
from manifests.core.digests import canonical_json, sha256_file, sha256_text
from manifests.core.errors import InputError
from manifests.core.layout import PROBE
from manifests.records.exports import Maker, StoreFacts
from manifests.stores.reading import FaceStore
from train.checkpoint import FILE, Student, load_student
from train.exporting import facts
from train.exporting.graph import require_packages

VERSION = 2  # raise it when the same run would give other files
METHODS = STATIC, DYNAMIC, NONE = ("static", "dynamic", "none")


@dataclass(frozen=True)
class Request:
    """A run, how it is to be exported, and the stores that this takes."""

    student: Student
    log: Mapping[str, Any]
    stores: Mapping[str, str]  # {path: root} of what it was trained on
    calibration: Sequence[FaceStore]
    probe: FaceStore | None
    pixels: str  # type of the graph's input
    int8: str  # one of METHODS

    @property
    def name(self) -> str:
        return self.student.folder.resolve().name

    @cached_property
    def store_facts(self) -> tuple[StoreFacts, ...]:
        return facts.store_facts(self.stores)

    @cached_property
    def makers(self) -> tuple[Maker, ...]:
        return facts.makers(self.student)

    @cached_property
    def work(self) -> Path:
        """The scratch folder of exactly this export."""
        inputs = [
            VERSION, self.student.sha256, sha256_file(self.student.folder / FILE), self.log,
            [asdict(store) for store in self.store_facts], self.probe and self.probe.root,
            self.pixels, self.int8, facts.versions(),
        ]  # fmt: skip
        digest = sha256_text(canonical_json(inputs))
        return layout.WORK / f"export-{self.name}" / digest[:16]


def open_request(run: Path, pixels: str, int8: str) -> Request:
    """Opens the run and its stores, and checks that they belong together.

    Raises InputError for what is missing, for stores that are not those that the student was
    trained on, and for a probe that it was trained on.
    """
    require_packages()
    student = load_student(run)
    log, stores = facts.read_log(student), facts.trained_on(student)
    calibration = facts.face_stores(stores)
    if int8 == STATIC and not stores:
        raise InputError(
            f"{run}: the faces that it was trained on were never stored: none are left to "
            "calibrate 8-bit ranges on; export with --int8 dynamic or none"
        )
    probe = None if int8 == NONE else FaceStore.open(layout.faces(PROBE))
    if probe is not None and probe.root in stores.values():
        raise InputError(f"{probe.path}: this student was trained on it; it cannot be a probe")
    if int8 == STATIC and not any(store.passport.num_ok for store in calibration):
        raise InputError(
            f"{run}: none of the faces that it was trained on are here to calibrate 8-bit ranges "
            "on; bring their stores under data/, or export with --int8 dynamic or none"
        )
    return Request(student, log, stores, calibration, probe, pixels, int8)
