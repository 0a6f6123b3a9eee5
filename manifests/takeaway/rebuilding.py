"""One store of a take-away, written anew by the code that writes every store."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from manifests.building.ledger import NAME as LEDGER
from manifests.building.ledger import LedgerLine, read_ledger
from manifests.building.writing import (
    IMAGES,
    Column,
    Task,
    assemble,
    plan_tasks,
    seal_store,
    write_attributes,
    write_images,
    write_metadata,
    write_piece,
)
from manifests.core.digests import canonical_json, sha256_text
from manifests.core.errors import InputError
from manifests.core.files import parse_json, write_text
from manifests.stores.latents import LatentManifest
from manifests.stores.metadata import REQUIRED, check_bounds
from manifests.stores.passport import NAME as PASSPORT
from manifests.stores.passport import Passport
from manifests.stores.reading import CHUNK_ROWS, COLUMN_SHARD_TASKS, OK, REASONS, FaceStore
from manifests.takeaway.hdf5 import Form
from manifests.takeaway.reading import Reader


@dataclass(frozen=True)
class Source:
    """What the store was beside its arrays; `lines`: of its ledger, if all its rows are here."""

    passport: Passport
    attributes: Mapping[str, Any]
    lines: Sequence[LedgerLine] | None
    rows_sha256: str  # of the face ids that are here, as little-endian int64

    @property
    def version(self) -> int:
        """Of the store that is made: the source's, so that it has the source's bytes."""
        return max(2, self.passport.schema_version)

    @property
    def selection(self) -> dict[str, str]:
        """What the lineage of a store of its own says of where it is from."""
        return {"selection_of": self.passport.merkle_root, "rows": self.rows_sha256}

    def line(self, task: Task, num_ok: int, failures: Mapping[str, int]) -> LedgerLine:
        """The ledger line of a shard: the source's, which must count as is found, or a new one."""
        made_from = sha256_text(canonical_json(self.selection))[:16]
        line = LedgerLine(task.shard, made_from, {}, task.stop - task.start, num_ok, failures)
        if self.lines is None:
            return line
        known = self.lines[task.shard : task.shard + 1]
        if [_counts(each) for each in known] != [_counts(line)]:
            raise InputError(f"its ledger does not count {_counts(line)} in shard {task.shard}")
        return known[0]


def _counts(line: LedgerLine) -> tuple[int, ...]:
    """(shard, rows, usable ones, failed ones)"""
    return (line.shard, line.num_rows, line.num_ok, sum(line.failures.values()))


@dataclass(frozen=True)
class Draft:
    """A store that is being written: from where, to where, with which scratch folder."""

    reader: Reader
    store: str
    target: Path
    work: Path
    faces: FaceStore | None = None  # that a teacher store embeds

    @property
    def kind(self) -> str:
        return "faces" if self.faces is None else "teacher"

    @property
    def task_rows(self) -> int:
        return self.reader.contents.task_rows[self.store]

    @property
    def arrays(self) -> dict[str, Form]:
        """{name: form} of the store's arrays."""
        datasets = self.reader.contents.datasets
        return {
            name.rpartition("/")[2]: form
            for name, form in datasets.items()
            if name.rpartition("/")[0] == self.store
        }

    def rows(self, name: str, task: Task) -> np.ndarray:
        return self.reader.rows(f"{self.store}/{name}", task.start, task.stop)

    @cached_property
    def usable(self) -> np.ndarray:
        """The rows that a teacher store must have embeddings of."""
        assert self.faces is not None
        return self.faces.ok()

    @property
    def columns(self) -> list[Column]:
        forms = self.arrays.items()
        return [Column(name, np.dtype(form.dtype).name, form.shape[1:]) for name, form in forms]


def build_store(draft: Draft, manifest: LatentManifest) -> Passport:
    """Writes and seals a store of the manifest's faces; returns the source's passport.

    Raises InputError if the arrays are not those of such a store.
    """
    source = _read_source(draft, manifest)
    _check_arrays(draft, len(manifest))
    tasks = plan_tasks(len(manifest), draft.task_rows)
    lines = _write_shards(draft, source, tasks)
    others = _write_others(draft, source, tasks)
    faces_root = None if draft.faces is None else draft.faces.root
    made_of = replace(
        source.passport,
        manifest_digest=manifest.digest,
        faces_root=faces_root,
        schema_version=source.version,
    )
    sealed = seal_store(draft.target, lines, others, made_of)
    if sealed.merkle_root != source.passport.merkle_root:
        replace(sealed, lineage={**sealed.lineage, **source.selection}).write(draft.target)
    return source.passport


def _read_source(draft: Draft, manifest: LatentManifest) -> Source:
    """Passport, attributes and ledger, by the code that reads them from a store."""
    reader, papers = draft.reader, f"papers/{draft.store}/"
    datasets = reader.contents.datasets
    there = {name.removeprefix(papers) for name in datasets if name.startswith(papers)}
    if there - {"ledger"} != {"passport", "attributes"}:
        raise InputError(f"{papers} does not hold passport and attributes")
    write_text(draft.work / PASSPORT, reader.text(papers + "passport"))
    passport = Passport.read(draft.work)
    if (passport.kind, passport.round) != (draft.kind, manifest.recipe.round):
        raise InputError(f"{papers}passport is of {passport.kind} of {passport.round[:80]!r}")
    lines = None
    if "ledger" in there:
        write_text(draft.work / LEDGER, reader.text(papers + "ledger"))
        lines = read_ledger(draft.work / LEDGER).shards
    attributes = _parse(papers, reader.text(papers + "attributes"))
    rows_sha256 = hashlib.sha256(manifest.face_id.astype("<i8").tobytes()).hexdigest()
    return Source(passport, attributes, lines, rows_sha256)


def _parse(papers: str, text: str) -> Mapping[str, Any]:
    try:
        values = parse_json(text.encode())
        canonical_json(values)  # no NaN, which is not JSON
    except ValueError as error:
        raise InputError(f"{papers}attributes: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise InputError(f"{papers}attributes: {text[:80]}, expected a mapping")
    return values


def _check_arrays(draft: Draft, num_rows: int) -> None:
    """Raises InputError unless the arrays are of such a store, within the bounds of any store."""
    arrays, rows = draft.arrays, draft.task_rows
    for name, wanted in REQUIRED[draft.kind].items():
        form = arrays.get(name)
        if form is None or (np.dtype(form.dtype).name, len(form.shape)) != wanted:
            raise InputError(f"{draft.store}/{name} is not {wanted[0]} in {wanted[1]} dimensions")
    for name, form in arrays.items():
        images = draft.kind == "faces" and name == IMAGES
        shard, chunk = (rows, CHUNK_ROWS) if images else (rows * COLUMN_SHARD_TASKS, rows)
        dtype, rest = np.dtype(form.dtype).name, form.shape[1:]
        try:
            check_bounds(dtype, form.shape, (shard, *rest), (chunk, *rest), whole=not images)
        except ValueError as error:
            raise InputError(f"{draft.store}/{name} is no array of ours ({error})") from None
        if form.shape[0] != num_rows:
            raise InputError(
                f"{draft.store}/{name} has {form.shape[0]} rows, its manifest {num_rows}"
            )


def _write_shards(draft: Draft, source: Source, tasks: Sequence[Task]) -> list[LedgerLine]:
    """Writes image shards, and pieces of the small columns; returns the ledger's lines."""
    names = list(draft.arrays)
    lines = []
    for task in tasks:
        rows = {name: draft.rows(name, task) for name in names}
        count = (
            _count_faces(rows) if draft.kind == "faces" else _count_embeddings(draft, task, rows)
        )
        hashes = {}
        if draft.kind == "faces":
            images = rows.pop(IMAGES)
            hashes = dict([write_images(draft.target, task, images, draft.task_rows)])
        write_piece(draft.work, task, rows)
        lines.append(replace(source.line(task, *count), output_sha256=hashes))
    return lines


def _write_others(draft: Draft, source: Source, tasks: Sequence[Task]) -> dict[str, str]:
    """Everything in the store but image shards; returns {relative path: sha256}."""
    num_rows, rows, version = tasks[-1].stop if tasks else 0, draft.task_rows, source.version
    others = write_attributes(draft.target, source.attributes)
    small = []
    for column in draft.columns:
        if draft.kind == "faces" and column.name == IMAGES:
            others |= write_metadata(
                draft.target, column, num_rows, rows, images=True, version=version
            )
        else:
            small.append(column)
    return others | assemble(draft.target, draft.work, tasks, small, rows, version)


def _count_faces(rows: Mapping[str, np.ndarray]) -> tuple[int, dict[str, int]]:
    """(usable ones, failures by reason) of a shard."""
    ok, reason = rows["ok"], rows["reason"]
    if not np.array_equal(reason == OK, ok) or not set(np.unique(reason)) <= set(REASONS):
        raise InputError(f"a face is usable for a reason, or failed for none of {REASONS}")
    failures = Counter(REASONS[int(code)] for code in reason[~ok])
    return int(ok.sum()), dict(failures)


def _count_embeddings(
    draft: Draft, task: Task, rows: Mapping[str, np.ndarray]
) -> tuple[int, dict[str, int]]:
    """(usable ones, failures by reason) of a shard, whose usable rows are those of its faces."""
    norms = rows["norms"]
    usable = np.isfinite(rows["embeddings"]).all(axis=(1, 2)) & np.isfinite(norms).all(axis=1)
    usable &= (norms > 0).all(axis=1)
    if not np.array_equal(draft.usable[task.start : task.stop], usable):
        raise InputError(f"{draft.store}: a row of {task} is usable in one of faces and embeddings")
    failed = int((~usable).sum())
    return len(usable) - failed, {"face_not_ok": failed} if failed else {}
