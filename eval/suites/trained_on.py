"""What a run's student was trained on, counted for rules that cap it.

    faces = faces_of_run(Path("runs/mined-2"))    # below the checkout's folder

Three things are read: the student's card (which stores), their passports and manifests (how many
faces, whose, made by what) and the run's log (how many of them were used).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifests.cards.facts import RoundFacts, read_round
from manifests.core import layout
from manifests.core.errors import InputError
from train.checkpoint import FILE, LOG, Student, StudentCard, load_student, read_log


@dataclass(frozen=True)
class TrainingFaces:
    """Faces that a student was trained on, by what is known of where they come from."""

    run: str
    card: StudentCard
    used: int  # of all kinds, as the log has it: without those that were left out
    synthetic: int  # usable ones of stores that a generator made, or that state their source
    photographs: int  # usable ones of stores that state real people
    unknown: int  # usable ones of stores with imported faces that nobody says anything of
    statements: tuple[str, ...]  # what those stores, or its card, state of the people
    identities: int | None  # None where a store does not say whose its faces are

    @property
    def synthetic_used(self) -> int:
        """At most so many: of a mixture the log does not say how many of each kind were used."""
        return min(self.synthetic, self.used)

    @property
    def of_people(self) -> str:
        """The photographs of real people behind it, in words; "" where there are none. A card has
        also those that taught what its run began with, or was taught by."""
        if not self.photographs and not self.statements:
            return ""
        whose = f"photographs ({'; '.join(self.statements) or 'not stated of whom'})"
        return f"{self.photographs:,} {whose}" if self.photographs else f"what learnt from {whose}"


def faces_of_run(run: Path) -> TrainingFaces:
    """Counts what the student in `run` was trained on, earlier runs that it continues included.

    Raises InputError where a store or an earlier run that the student names is not at hand or is
    another one, and where the log is not this student's: what cannot be counted cannot keep a cap.
    """
    chain = _chain(run)
    student = chain[0]
    stores = dict.fromkeys(each for own in chain for each in _face_stores(own).items())
    rounds = [_round(run, Path(path), root) for path, root in stores]

    stated = {own.real_faces for own in rounds if own.real_faces}

    def usable(kind: str) -> int:
        return sum(own.faces.passport.num_ok for own in rounds if _kind(own) == kind)

    return TrainingFaces(
        run.as_posix(),
        student.card,
        _num_used(chain),
        synthetic=usable("synthetic"),
        photographs=usable("photographs"),
        unknown=usable("unknown"),
        statements=tuple(sorted(stated | {*student.card.people})),
        identities=_identities(rounds),
    )


def _kind(own: RoundFacts) -> str:
    if own.real_faces is not None:
        return "photographs"
    return "unknown" if own.num_imported and own.synthetic_source is None else "synthetic"


def _identities(rounds: Sequence[RoundFacts]) -> int | None:
    """Two rounds share no identity (train.batching.sources.identity_labels)."""
    manifests = [own.manifest for own in rounds]
    if any(own is None or own.filled.get("identity_id", 0) < own.num_rows for own in manifests):
        return None
    return sum(own.distinct["identity_id"] for own in manifests if own is not None)


def _face_stores(student: Student) -> Mapping[str, str]:
    try:
        stores = dict(json.loads(student.card.stores))
        return {path: str(root) for path, root in stores.items() if Path(path).name == layout.FACES}
    except (ValueError, TypeError):
        raise InputError(
            f"{student.folder}: the student's list of stores is damaged; train it again"
        ) from None


def _round(run: Path, path: Path, root: str) -> RoundFacts:
    """The round of a face store, which must be the one that was trained on."""
    name = layout.round_of(path)
    if not name or not path.is_dir():
        raise InputError(
            f"{path}: not here, {run} was trained on it and its faces must be counted; bring the "
            "round (dvc pull, or facestill unpack)"
        )
    own = read_round(name, teachers=[])
    if own.faces.passport.merkle_root != root:
        raise InputError(
            f"{path}: root {own.faces.passport.merkle_root[:12]}, {run} was trained on "
            f"{root[:12]}; bring that one, or train the run again"
        )
    return own


def _chain(run: Path) -> list[Student]:
    """The run's student, the one that it continues or leaves as it is, and so on to the first."""
    chain = [load_student(run)]
    while (name := read_log(chain[-1]).get("after")) is not None:
        folder = layout.run(layout.run_name(str(name)))
        if folder in [own.folder for own in chain] or not (folder / FILE).is_file():
            raise InputError(
                f"{folder}: no run that {chain[-1].folder} could continue, as its log says; its "
                "faces must be counted; bring that run"
            )
        chain.append(load_student(folder))
    return chain


def _num_used(chain: Sequence[Student]) -> int:
    """Distinct faces at most. A run takes the faces of those before it again, unless it chooses a
    part of its rounds, or looks at others."""
    total, before = 0, set[str]()
    for student in reversed(chain):
        own, stores = _num_faces(student), {*_face_stores(student)}
        again = before <= stores and not _chooses(read_log(student))
        total, before = max(total, own) if again else total + own, before | stores
    return total


def _chooses(log: Mapping[str, Any]) -> bool:
    """Whether a run took a mix of its rounds' faces, or a part of their identities."""
    params = log.get("params", {})
    return "chosen" in params or any(
        own.get("identities") is not None for own in params.get("runs", {}).values()
    )


def _num_faces(student: Student) -> int:
    try:
        return int(read_log(student)["num_faces"])
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{student.folder / LOG}: does not say how many faces were used; train the run again"
        ) from None
