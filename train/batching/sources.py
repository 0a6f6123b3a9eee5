"""The rounds that a run trains on: their faces, what teachers said of them, and whom they show."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.records.marks import Marks
from manifests.settings.objectives import IdentityPart
from manifests.settings.params import Params
from manifests.stores.latents import LatentManifest
from manifests.stores.reading import FaceStore, TeacherStore
from manifests.stores.rounds import RoundFiles, check_no_face_twice, open_round, require_trainable
from pipeline.arrays.frames import Frame

NO_ROWS = np.empty(0, int)
NO_IDENTITY = -1
CHECKED_ROWS = 1 << 14  # targets looked at, at a time


@dataclass(frozen=True)
class Source:
    """A round's faces with the embeddings of one or more teachers."""

    faces: FaceStore
    teachers: Mapping[str, TeacherStore]
    usable: Int[np.ndarray, " row"]  # rows that may be trained on, ascending
    targets: Mapping[str, Float[np.ndarray, "face view _"]]  # by teacher: float16, raw, all rows
    face_ids: Int[np.ndarray, " face"]  # -1 - row where the round came without its manifest
    identities: Int[np.ndarray, " face"]  # of the manifest; NO_IDENTITY where it names none


def open_sources(
    names: Sequence[str],
    teachers: Sequence[str],
    params: Params,
    known: Mapping[str, str],
) -> tuple[list[Source], dict[str, str]]:
    """The rounds to train on, without the faces to be left out, and {path: digest} of the marks
    that say so. `teachers`: whose stores; `known`: what an earlier run recorded of them.

    Raises InputError also for photographs of people that params.yaml does not allow.
    """
    opened = [open_round(name, params.teacher, roots=known) for name in names]
    check_no_face_twice(opened)
    sources, digests = [], {}
    for files in opened:
        stores = {
            name: files.teacher
            if name == params.teacher
            else open_round(files.name, name, roots=known).teacher
            for name in teachers
        }
        rows = NO_ROWS
        if params.train.leave_out:
            marks, digest = _read_marks(files, params.teacher, known)
            rows = marks.rows(params.train.leave_out)
            digests[layout.marks(files.name, params.teacher).as_posix()] = digest
        allowed = params.real_faces.allowed
        sources.append(open_source(files.faces, stores, rows, files.manifest, allowed))
    for name in teachers:
        check_one_teacher([source.teachers[name] for source in sources])
    return sources, digests


def _read_marks(files: RoundFiles, teacher: str, known: Mapping[str, str]) -> tuple[Marks, str]:
    """A round's marks and their digest, which an earlier run may have recorded."""
    path = layout.marks(files.name, teacher)
    if not path.exists():
        raise InputError(
            f"{path}: no such file; run `facestill screen {files.name}`, or leave nothing "
            "out (params.yaml: train: leave_out: [])"
        )
    marks, digest = Marks.read(
        path,
        faces_root=files.faces.root,
        teacher_root=files.teacher.root,
        num_rows=len(files.faces),
    )
    if known.get(path.as_posix(), digest) != digest:
        raise InputError(f"{path}: drawn anew since the last run; train that run again")
    return marks, digest


def open_source(
    faces: FaceStore,
    teachers: Mapping[str, TeacherStore],
    leave_out: Int[np.ndarray, " row"] = NO_ROWS,
    manifest: LatentManifest | None = None,
    allowed: str | None = None,
) -> Source:
    """A round to train on; rows of `leave_out` are there and not used.

    The one way to faces that are trained on. Raises InputError for photographs of people, unless
    they are those that are `allowed`, and for embeddings that do not fit.
    """
    require_trainable(layout.round_of(faces.path), manifest, faces, allowed)
    usable = np.setdiff1d(np.flatnonzero(faces.ok()), leave_out)
    targets = {name: _embeddings(teacher, faces) for name, teacher in teachers.items()}
    face_ids, identities = -1 - np.arange(len(faces)), np.full(len(faces), NO_IDENTITY)
    if manifest is not None:
        column = manifest.table["identity_id"].fill_null(NO_IDENTITY)
        face_ids, identities = manifest.face_id, column.to_numpy()
    source = Source(faces, teachers, usable, targets, face_ids, identities)
    for name in teachers:
        _check_targets(source, name)
    return source


def _embeddings(teacher: TeacherStore, faces: FaceStore) -> np.ndarray:
    if len(teacher) != len(faces):
        raise InputError(
            f"{teacher.path}: {len(teacher)} rows, {faces.path} has {len(faces)}; embed it again"
        )
    return teacher.embeddings()


def _check_targets(source: Source, teacher: str) -> None:
    """A face without an embedding would turn the whole student into NaN, far from its cause."""
    path = source.teachers[teacher].path
    for at in range(0, len(source.usable), CHECKED_ROWS):
        rows = source.usable[at : at + CHECKED_ROWS]
        finite = np.isfinite(source.targets[teacher][rows]).all(axis=(1, 2))
        if not finite.all():
            raise InputError(
                f"{path}: row {rows[np.argmin(finite)]} is a usable face, its embedding is not "
                f"finite; run `facestill check {path}`, then embed the round again"
            )


def stored_frame(sources: Sequence[Source]) -> Frame:
    """The frame that all sources keep their faces in."""
    frames = {Frame(**source.faces.frame) for source in sources}
    if len(frames) != 1:
        names = sorted(f"{frame.name} at {frame.size} px" for frame in frames)
        raise InputError(f"stores keep faces in unlike frames: {', '.join(names)}")
    return frames.pop()


def check_one_teacher(stores: Sequence[TeacherStore]) -> None:
    """Raises InputError if the embeddings are not all one teacher's; warns if they were
    computed on unlike machines, whose low bits differ."""
    prints = [store.passport.fingerprint for store in stores]
    for store, made_by in zip(stores, prints, strict=True):
        one, first = made_by.identity, prints[0].identity
        if one != first:
            unlike = sorted(key for key in {*one, *first} if one.get(key) != first.get(key))
            raise InputError(
                f"{store.path}: embedded by another teacher, version or precision of it (unlike in "
                f"{', '.join(unlike)}) than {stores[0].path}; embed the round again"
            )
        if made_by.numerics != prints[0].numerics:
            warnings.warn(
                f"{store.path}: computed with {made_by.numerics}, "
                f"{stores[0].path} with {prints[0].numerics}",
                stacklevel=2,
            )


def num_usable(sources: Sequence[Source]) -> int:
    return sum(len(source.usable) for source in sources)


def real_faces_of(sources: Sequence[Source]) -> dict[str, int]:
    """{what is stated of people on photographs: how many of them are trained on}."""
    found: dict[str, int] = {}
    for source in sources:
        stated = source.faces.passport.real_faces
        if stated is not None and len(source.usable):
            found[stated] = found.get(stated, 0) + len(source.usable)
    return found


def identity_labels(sources: Sequence[Source]) -> list[Int[np.ndarray, " face"]]:
    """A label of every face, by source: the identities that usable faces have, numbered from 0
    in the order of rounds and of their ids. Two rounds share no identity."""
    labels, count = [], 0
    for source in sources:
        found = usable_identities(source)
        known = np.isin(source.identities, found)
        places = np.searchsorted(found, source.identities) + count
        labels.append(np.where(known, places, NO_IDENTITY))
        count += len(found)
    return labels


def usable_identities(source: Source) -> Int[np.ndarray, " identity"]:
    """Ids of the identities that usable faces of a round have, ascending."""
    found = np.unique(source.identities[source.usable])
    return found[found != NO_IDENTITY]


def num_identities(sources: Sequence[Source]) -> int:
    """Identities that margin heads tell apart."""
    return 1 + max((int(labels.max(initial=-1)) for labels in identity_labels(sources)), default=-1)


def only_part(source: Source, part: IdentityPart) -> Source:
    """The faces of every `parts`-th of a round's identities, counted from the `part`-th."""
    identities = np.unique(source.identities[source.identities != NO_IDENTITY])
    chosen = np.isin(source.identities, identities[part.part :: part.parts])
    return replace(source, usable=source.usable[chosen[source.usable]])
