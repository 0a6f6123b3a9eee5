"""What an objective needs of the rounds at hand, and of the student that a run begins with: found
missing here, before any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from manifests.core import layout
from manifests.core.digests import canonical_json, sha256_text
from manifests.core.errors import InputError
from manifests.settings.objectives import Grouped
from manifests.settings.params import Params
from manifests.stores.reading import TeacherStore
from train.batching.sources import (
    Source,
    identity_labels,
    num_identities,
    usable_identities,
)
from train.checkpoint import Student
from train.losses.adaptors import load_adaptor
from train.losses.margin_heads import load_head
from train.losses.objectives import embedding_width, teachers_of
from train.losses.terms import PULLS, Target

LEAST_IDENTITIES = 2
VIEWS = ("plain", "flip")  # that a student is shown


def check_objective(
    params: Params, sources: Sequence[Source], targets: Mapping[str, Target], num_epochs: int
) -> None:
    """Raises InputError, in one line, for parameters that cannot be met: too few identities,
    unlike widths, a view that a store lacks, a number of snapshots other than of epochs, an
    adaptor or a head of other teachers or identities. `num_epochs`: 0 where nothing is trained.
    """
    _check_choices(params)
    for source in sources:
        for store in source.teachers.values():
            check_views(store)
    _check_identities(params, num_identities(sources))
    if params.train.snapshots and num_epochs:
        _check_snapshots(params, num_epochs)
    if params.train.adaptor is not None:
        _check_adaptor(params, sources[0].teachers)
    else:
        _check_widths(params, targets)
    if params.train.loss.follows_teacher:
        _check_centres(params, targets)
    if params.train.loss.grouped is not None:
        _check_grouped(params.train.loss.grouped, sources, targets)
    if params.train.engine.faces_an_identity > 1:
        _check_balance(params.train.engine.faces_an_identity, sources)
    if params.train.loss.on_top is not None:
        width, reason = embedding_width(params, targets), "train.embedding_width says"
        _check_head(layout.run_folder(params.train.loss.on_top), sources, width, reason)


def _check_choices(params: Params) -> None:
    train = params.train
    names = teachers_of(params)
    if train.teachers and not train.loss.needs_teacher:
        raise InputError(
            f"train.teachers: {', '.join(train.teachers)}, but train.loss has no term that looks "
            "at a teacher; add one, or name no teachers"
        )
    if train.face_weights and not any(term.name in PULLS for term in train.loss.terms):
        raise InputError(
            "train.face_weights: train.loss has no term that pulls a face to its own embedding "
            f"({', '.join(sorted(PULLS))}), whose losses they weigh; add one, or name no tables"
        )
    if train.snapshots and (train.teachers or train.adaptor):
        raise InputError(
            "train.snapshots beside train.teachers or train.adaptor: snapshots are one teacher's, "
            "each for an epoch; name the one or the others"
        )
    if train.loss.certainty and train.engine.ema:
        raise InputError(
            f"train.engine.ema: {train.engine.ema:g} beside cr-fiqa, whose quality head follows "
            "the student as it is trained, not its average; set ema to 0"
        )
    if train.loss.remembers and train.snapshots:
        raise InputError(
            "train.loss: memory beside train.snapshots: faces that another snapshot taught are no "
            "company for this one's; leave out the one or the other"
        )
    for wanted, what in ((train.loss.grouped, "gkd"), (train.loss.follows_teacher, "a centre")):
        if wanted and len(names) != 1:
            raise InputError(
                f"train.loss: {what} has one teacher, not {', '.join(names)}; change "
                "train.teachers or train.snapshots"
            )


def check_same_kind(student: Student, pool: str, known: Mapping[str, str], params: Params) -> None:
    """Raises InputError unless a run may begin with this student: of the architecture that is
    asked for, and taught on round `pool` by every teacher (`known`: what its card names)."""
    wanted, card = params.train.student, student.card
    if (card.name, card.width, card.input_size) != (wanted.name, wanted.width, wanted.input_size):
        raise InputError(
            f"{student.folder}: a {card.name} of width {card.width:g} at {card.input_size} px, "
            f"params.yaml asks for {wanted.name}, {wanted.width:g}, {wanted.input_size}; "
            "say the same `student` for both runs, or train it again"
        )
    if card.projected_from != (wanted.projected_from or 0):
        raise InputError(
            f"{student.folder}: projected from {card.projected_from or 'nothing'}, params.yaml "
            f"has projected_from {wanted.projected_from}; say the same `student` for both runs, or "
            "train it again"
        )
    for teacher in teachers_of(params):
        if layout.teacher(pool, teacher).as_posix() not in known:
            raise InputError(
                f"{student.folder}: not taught by {teacher}; train it again or change params.yaml"
            )


def check_same_width(student: Student, wanted: int) -> None:
    """Raises InputError unless the student's embeddings have as many numbers as are asked for."""
    if student.card.embedding_width != wanted:
        raise InputError(
            f"{student.folder}: embeddings of {student.card.embedding_width} numbers, "
            f"train.embedding_width, or the first teacher, asks for {wanted}; train it again"
        )


def check_views(store: TeacherStore) -> None:
    found = store.group["embeddings"].shape[1]
    if found < len(VIEWS):
        raise InputError(
            f"{store.path}: holds {found} view of each face, a student is shown {len(VIEWS)} "
            f"({', '.join(VIEWS)}); embed the round again"
        )


def _check_identities(params: Params, count: int) -> None:
    needed = params.train.loss.needs_identities
    if needed and count < LEAST_IDENTITIES:
        raise InputError(
            f"train.loss: {needed[0]} tells identities apart, the usable faces have {count}; "
            "train on a round with identities (such as `identities`)"
        )


def _check_snapshots(params: Params, num_epochs: int) -> None:
    count = len(params.train.snapshots)
    if count != num_epochs:
        raise InputError(
            f"train.snapshots: {count} snapshots for {num_epochs} epochs; epoch e is taught by "
            "snapshot e: name as many, or change the run's faces_seen"
        )


def _check_widths(params: Params, targets: Mapping[str, Target]) -> None:
    train, width = params.train, embedding_width(params, targets)
    pointwise = [t.name for t in train.loss.terms if t.name in PULLS]
    for name, target in targets.items():
        projected = name in train.teachers and train.teachers[name].projection
        if pointwise and not projected and target.width != width:
            raise InputError(
                f"train.loss: {pointwise[0]} compares {width} coordinates of the student with "
                f"{target.width} of {name}; give it a projection (train.teachers: {name}: "
                f"{{projection: true}}), or say train.embedding_width: {target.width}"
            )


def _check_centres(params: Params, targets: Mapping[str, Target]) -> None:
    """A centre is a teacher's embedding: there is no projection between."""
    ((name, target),) = targets.items()
    if target.width != embedding_width(params, targets):
        raise InputError(
            f"train.loss: {name}'s embeddings of {target.width} numbers are the centres of a "
            f"student's of {embedding_width(params, targets)}; say train.embedding_width: "
            f"{target.width}"
        )


def _check_grouped(term: Grouped, sources: Sequence[Source], targets: Mapping[str, Target]) -> None:
    (target,) = targets.values()
    _check_head(layout.run_folder(term.head), sources, target.width, "the teacher's stores have")
    count = num_identities(sources)
    if term.group_size is not None and term.group_size >= count:
        raise InputError(
            f"train.loss: group_size {term.group_size} of {count} identities: no tail is left out; "
            "lower it, or leave it out to have gkd find a size"
        )


def _check_balance(wanted: int, sources: Sequence[Source]) -> None:
    """Has anybody so many faces?"""
    labels = identity_labels(sources)
    own = [each[source.usable] for source, each in zip(sources, labels, strict=True)]
    joined = np.concatenate(own)
    most = int(np.bincount(joined[joined >= 0], minlength=1).max())
    if most < wanted:
        raise InputError(
            f"train.engine.faces_an_identity: {wanted}, but no identity has more than {most} "
            "usable faces; lower it, or train on a round with identities (such as `identities`)"
        )


def _check_adaptor(params: Params, teachers: Mapping[str, TeacherStore]) -> None:
    path = layout.run_folder(str(params.train.adaptor))
    adaptor = load_adaptor(path)
    made_of = {one.name: one.identity_sha256 for one in adaptor.inputs}
    if set(made_of) != set(teachers):
        raise InputError(
            f"{path}: an adaptor of {', '.join(made_of)}, but train.teachers names "
            f"{', '.join(teachers)}; name the same"
        )
    for name, store in teachers.items():
        if made_of[name] != identity_sha256(store):
            raise InputError(
                f"{store.path}: embedded by another {name} than {path} was made with; run "
                f"`facestill fuse` again"
            )
    width = params.train.embedding_width
    if width not in (None, adaptor.width):
        raise InputError(
            f"train.embedding_width: {width}, but the adaptor {path} gives {adaptor.width}; say "
            f"{adaptor.width} or null"
        )


def _check_head(run: Path, sources: Sequence[Source], width: int, says: str) -> None:
    head, made_on = load_head(run)
    if made_on != identities_sha256(sources):
        raise InputError(
            f"{run}: its head knows other identities than this run sees; train both on the same "
            "rounds, and leave the same faces out"
        )
    if head.prototypes.shape[1] != width:
        raise InputError(
            f"{run}: its head takes {head.prototypes.shape[1]} coordinates, {says} {width}; "
            "they must be the embeddings of that run's own student"
        )


def identity_sha256(store: TeacherStore) -> str:
    """Of the teacher that made a store: the same for all its rounds."""
    return sha256_text(canonical_json(store.passport.fingerprint.identity))


def identities_sha256(sources: Sequence[Source]) -> str:
    """Of whom a margin head's prototypes are, in the order of their labels."""
    found = [
        [source.faces.passport.manifest_digest, usable_identities(source).tolist()]
        for source in sources
    ]
    return sha256_text(canonical_json(found))
