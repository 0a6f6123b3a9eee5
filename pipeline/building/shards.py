"""Building a store shard by shard: plan, resume, hand out, record, seal, deliver.

A build works in .work/STAGE/INPUT_HASH and moves the finished store to its output. Resuming
trusts only ledger lines whose files still have the recorded hashes; a finished store whose
input hash comes up again is linked to the output without any work.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from manifests.building.ledger import NAME as LEDGER
from manifests.building.ledger import LedgerLine, append_line, read_ledger, write_ledger
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
from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.digests import canonical_json, sha256_file, sha256_text
from manifests.core.errors import InputError
from manifests.core.files import deliver, forget_others, require_writable, write_json
from manifests.core.locks import only_writer
from manifests.core.progress import Bar
from manifests.core.sources import Loaded, loaded
from manifests.stores.passport import NAME as PASSPORT
from manifests.stores.passport import Passport, Provenance
from manifests.stores.reading import store_root
from pipeline.building.workers import Workers

LOADED = "loaded.json"  # in the scratch folder: what its shards were made with
Arrays = Mapping[str, np.ndarray]  # by name; a row each of the rows that were asked for
Job = Callable[[np.ndarray], Arrays]  # of ascending rows; picklable: workers call it
Count = Callable[[Arrays], tuple[int, int, dict[str, int]]]  # (rows, usable ones, failures)


@dataclass(frozen=True)
class Build:
    """A store that is to be built: by which job, of what, and where it goes."""

    verb: str  # what is done, and
    name: str  # to which round
    work: Path  # the scratch folder, see `scratch_folder`
    output: Path
    job: Job
    count: Count
    num_rows: int
    num_faces: int | None  # that it makes, recorded with the time that it took; None: not recorded
    columns: Sequence[Column]  # the small arrays
    images: Column | None
    attributes: Callable[[Build], Mapping[str, Any]]  # of the store, once its shards are done
    provenance: Provenance

    @property
    def task_rows(self) -> int:
        """Rows of one shard."""
        return self.provenance.shard_rows

    @property
    def tasks(self) -> list[Task]:
        return plan_tasks(self.num_rows, self.task_rows)

    @property
    def store(self) -> Path:
        """It grows in the scratch folder."""
        return self.work / "store"

    @property
    def ledger(self) -> Path:
        return self.work / LEDGER

    @property
    def finished(self) -> bool:
        return (self.store / PASSPORT).exists()


def scratch_folder(stage: str, inputs: Mapping[str, Any]) -> Path:
    """Of a build with exactly these inputs: version number, params and digests."""
    return layout.WORK / stage / sha256_text(canonical_json(dict(inputs)))[:16]


def build(store: Build, workers: Workers) -> Passport:
    """Builds a store, goes on where that was interrupted, or links it where it is finished."""
    with locked(store):
        passport = finish(store, workers)
        relink(store)
    return passport


@contextmanager
def locked(build: Build) -> Iterator[None]:
    """Holds the stage's lock, so that a second writer is refused; the scratch folder is there."""
    require_writable(build.output)
    with only_writer(build.work.parent):
        if build.finished and not _sound(build.store):
            shutil.rmtree(build.work)  # damaged since (it shares its files with the output)
        build.store.mkdir(parents=True, exist_ok=True)
        yield


def _sound(store: Path) -> bool:
    try:
        return store_root(store) == Passport.read(store).merkle_root
    except InputError:
        return False


def finish(build: Build, workers: Workers) -> Passport:
    """Does what is left to do, and seals the store in the scratch folder."""
    if build.finished:
        return Passport.read(build.store)
    rows = None if build.ledger.exists() else build.num_faces  # of an interrupted one: unknown
    with timed(f"{build.verb}@{build.name}", rows=rows):
        lines = run_tasks(build, workers)
        store, tasks, task_rows = build.store, build.tasks, build.task_rows
        version = build.provenance.schema_version
        others = assemble(store, build.work, tasks, build.columns, task_rows, version)
        if build.images is not None:
            others |= write_metadata(
                store, build.images, build.num_rows, task_rows, images=True, version=version
            )
        others |= write_attributes(store, build.attributes(build))
        return seal(build, lines, others)


def run_tasks(build: Build, workers: Workers) -> list[LedgerLine]:
    """Does every task that the ledger does not already hold; returns all lines in shard order."""
    lines, tasks = finished_lines(build), build.tasks
    todo = [task for task in tasks if task.shard not in lines]
    write_ledger(build.ledger, lines.values())
    record_code(build)
    done = build.num_rows - sum(task.stop - task.start for task in todo)
    job = ShardJob(build.job, build.count, build.work, build.task_rows)
    title = f"{build.verb} {build.name}"
    with Bar(total=build.num_rows, initial=done, unit="face", desc=title, smoothing=0.1) as bar:
        for line in workers.run(job, todo):
            append_line(build.ledger, line)
            lines[line.shard] = line
            bar.update(line.num_rows)
    return [lines[task.shard] for task in tasks]


def finished_lines(build: Build) -> dict[int, LedgerLine]:
    """Ledger lines of an interrupted build whose files are still exactly what they say, if this
    process would make the same: a store is by one code alone."""
    lines = read_ledger(build.ledger, torn_tail=True).shards
    before = Loaded.read(build.work / LOADED)
    unlike = loaded().unlike(before) if before else "code that is not recorded"
    if lines and unlike:
        Bar.write(f"{build.work}: begun with {unlike}; {len(lines)} shards are made again")
        return {}
    return {line.shard: line for line in lines if _intact(build.work, line)}


def record_code(build: Build) -> None:
    """Says in the scratch folder what its shards are made with from here on."""
    write_json(build.work / LOADED, asdict(loaded()))


def _intact(work: Path, line: LedgerLine) -> bool:
    return all(
        (work / path).is_file() and sha256_file(work / path) == digest
        for path, digest in line.output_sha256.items()
    )


@dataclass(frozen=True)
class ShardJob:
    """Makes one shard and writes its files; travels to worker processes."""

    job: Job
    count: Count
    work: Path
    task_rows: int

    def __call__(self, task: Task) -> LedgerLine:
        arrays = self.job(np.arange(task.start, task.stop))
        columns = {name: rows for name, rows in arrays.items() if name != IMAGES}
        hashes = {}
        if IMAGES in arrays:
            path, sha256 = write_images(self.work / "store", task, arrays[IMAGES], self.task_rows)
            hashes[f"store/{path}"] = sha256
        return write_line(self.work, task, columns, self.count, hashes)


def write_line(
    work: Path, task: Task, columns: Arrays, count: Count, hashes: Mapping[str, str]
) -> LedgerLine:
    """Writes the small columns of a shard; its ledger line, with the hashes of its other files."""
    piece, sha256 = write_piece(work, task, columns)
    return LedgerLine(task.shard, work.name, {**hashes, piece: sha256}, *count(columns))


def seal(build: Build, lines: Sequence[LedgerLine], others: Mapping[str, str]) -> Passport:
    """Writes ledger and passport (with the root over all files).

    `others`: {relative path: sha256} of the store's files that are no task's. The sealed ledger
    keeps only files that are in the store: scratch pieces are gone.
    """
    inside = f"{build.store.name}/"
    kept = [replace(line, output_sha256=_inside(line.output_sha256, inside)) for line in lines]
    return seal_store(build.store, kept, others, build.provenance)


def _inside(hashes: Mapping[str, str], folder: str) -> dict[str, str]:
    return {
        path.removeprefix(folder): sha for path, sha in hashes.items() if path.startswith(folder)
    }


def relink(build: Build) -> None:
    """Delivers a finished store; pieces and older builds of this stage are let go."""
    deliver(build.store, build.output)
    shutil.rmtree(build.work / "pieces", ignore_errors=True)
    for stray in build.work.glob(".*.tmp"):  # of a killed process
        stray.unlink()
    forget_others(build.work)
