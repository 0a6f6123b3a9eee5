"""The usable faces of rounds as one sequence: embeddings by blocks, what belongs together, names.

A face's number is its place among the rows of all rounds, failed ones counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from eval.scoring.search import Pairs
from eval.scoring.similarity import prepared
from manifests.core.errors import InputError
from manifests.stores.rounds import RoundFiles, check_no_face_twice
from pipeline.arrays.frames import Frame
from pipeline.teachers.base import VIEWS, Teacher, of_one_network

BLOCK = 4096  # faces read and searched at a time


def stored_frame(rounds: Sequence[RoundFiles], teacher: Teacher) -> Frame:
    """The frame that all rounds keep. Raises InputError if they keep several, hold a face twice
    or none that is usable, or were embedded by another teacher than `teacher`."""
    check_no_face_twice(rounds)
    first = rounds[0]
    for files in rounds:
        if files.faces.frame != first.faces.frame:
            raise InputError(
                f"rounds {first.name} and {files.name}: of unlike stored frames; measure them "
                "one by one"
            )
        identity = files.teacher.passport.fingerprint.identity
        if not of_one_network(identity, teacher.identity()):
            raise InputError(
                f"{files.teacher.path}: not by the {teacher.name} that is here; embed it again"
            )
    if not any(files.faces.passport.num_ok for files in rounds):
        raise InputError(f"rounds {', '.join(files.name for files in rounds)}: no usable face")
    return Frame(**first.faces.frame)


def synthetic_blocks(
    rounds: Sequence[RoundFiles], metric: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(numbers, prepared embeddings) of the usable faces, plain view."""
    start = 0
    for files in rounds:
        usable = files.faces.ok()
        for at in range(0, len(usable), BLOCK):
            ok = usable[at : at + BLOCK]
            rows = files.teacher.embeddings(at, at + BLOCK)[ok, VIEWS.index("plain")]
            yield start + at + np.flatnonzero(ok), prepared(rows.astype(np.float32), metric)
        start += len(usable)


def group_numbers(rounds: Sequence[RoundFiles]) -> Int[np.ndarray, " face"]:
    """For each usable face what it was made together with: an identity, else the children of one
    parent, else itself. Groups of two rounds are never the same."""
    number: dict[tuple[str, str, int], int] = {}
    groups = []
    for files in rounds:
        keys = _keys(files)
        groups += [
            number.setdefault((files.name, *keys[row]), len(number))
            for row in np.flatnonzero(files.faces.ok()).tolist()
        ]
    return np.array(groups, np.int64)


def _keys(files: RoundFiles) -> list[tuple[str, int]]:
    own = [("row", row) for row in range(len(files.faces))]
    if files.manifest is None:
        return own
    for name in ("parent_id", "identity_id"):
        values = files.manifest.table[name].to_pylist()
        own = [key if v is None else (name, v) for key, v in zip(own, values, strict=True)]
    return own


def listed(top: Pairs, rounds: Sequence[RoundFiles], names: Sequence[str]) -> list[dict[str, Any]]:
    """Pairs with the round, row and face_id of the synthetic face, and the real one's name."""
    starts = np.cumsum([0, *(len(files.faces) for files in rounds)])
    found = []
    for score, number, real in zip(
        top.score.tolist(), top.face.tolist(), top.real.tolist(), strict=True
    ):
        at = int(np.searchsorted(starts, number, side="right")) - 1
        files, row = rounds[at], number - int(starts[at])
        face_id = None if files.manifest is None else int(files.manifest.face_id[row])
        place = {"round": files.name, "row": row, "face_id": face_id}
        found.append({"score": score, **place, "real": names[real]})
    return found
