"""Running a stage shard by shard: plan, resume, hand out, record, seal.

A stage works in .work/STAGE/INPUT_HASH and moves the finished store to its output. Resuming
trusts only ledger lines whose files still have the recorded hashes; a finished store whose
input hash comes up again is linked to the output without any work.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from manifests.building.ledger import NAME as LEDGER
from manifests.building.ledger import LedgerLine, append_line, read_ledger, write_ledger
from manifests.building.locks import only_writer
from manifests.building.writing import Column, Task, plan_tasks, seal_store
from manifests.core import layout
from manifests.core.digests import canonical_json, sha256_file, sha256_text
from manifests.core.errors import InputError
from manifests.core.files import deliver, forget_others, require_writable
from manifests.stores.passport import NAME as PASSPORT
from manifests.stores.passport import Fingerprint, Passport
from manifests.stores.reading import store_root
from pipeline.building.workers import Workers

Job = Callable[[Task], LedgerLine]  # picklable: it is called in worker processes


@dataclass(frozen=True)
class Build:
    """A store that is to be made: by which stage, from what (version number, params and
    digests), and where it goes."""

    stage: str
    inputs: Mapping[str, Any]
    output: Path

    @property
    def work(self) -> Path:
        """The scratch folder of exactly these inputs."""
        digest = sha256_text(canonical_json(dict(self.inputs)))
        return layout.WORK / self.stage / digest[:16]


@dataclass(frozen=True)
class Workshop:
    """The scratch folder of one build: `store` grows into the result, `pieces` are scratch."""

    work: Path
    output: Path

    @property
    def store(self) -> Path:
        return self.work / "store"

    @property
    def ledger(self) -> Path:
        return self.work / LEDGER

    @property
    def begun(self) -> bool:
        """Has an earlier, interrupted build left something?"""
        return self.ledger.exists()

    @property
    def finished(self) -> bool:
        return (self.store / PASSPORT).exists()


class Making(ABC):
    """What a stage that builds stores knows of one before it is made."""

    made_by: Fingerprint

    @property
    @abstractmethod
    def build(self) -> Build: ...

    @property
    @abstractmethod
    def source(self) -> str:
        """Digest of the manifest, or root of the faces, that it is made from."""

    @property
    @abstractmethod
    def num_rows(self) -> int: ...

    @property
    @abstractmethod
    def task_rows(self) -> int:
        """Rows of one shard."""

    @property
    def tasks(self) -> list[Task]:
        return plan_tasks(self.num_rows, self.task_rows)

    @property
    @abstractmethod
    def pictures(self) -> Column | None: ...

    @property
    @abstractmethod
    def columns(self) -> Sequence[Column]: ...

    @abstractmethod
    def count(self, columns: Mapping[str, np.ndarray]) -> tuple[int, int, dict[str, int]]:
        """(rows, usable ones, failures by reason) of a shard's columns."""

    @abstractmethod
    def job(self, work: Path) -> Any:
        """The job of one shard, with `work` as its scratch folder."""

    @abstractmethod
    def finish(self, shop: Workshop, workers: Workers) -> Passport:
        """Does what is left to do, and seals the store in the workshop."""


@contextmanager
def open_workshop(build: Build) -> Iterator[Workshop]:
    """The scratch folder of a build, with the stage's lock held: a second writer is refused."""
    require_writable(build.output)
    with only_writer(build.work.parent):
        shop = Workshop(build.work, build.output)
        if shop.finished and not _sound(shop.store):
            shutil.rmtree(shop.work)  # damaged since (it shares its files with the output)
        shop.store.mkdir(parents=True, exist_ok=True)
        yield shop


def _sound(store: Path) -> bool:
    try:
        return store_root(store) == Passport.read(store).merkle_root
    except InputError:
        return False


def finished_lines(shop: Workshop) -> dict[int, LedgerLine]:
    """Ledger lines of an interrupted build whose files are still exactly what they say."""
    lines = read_ledger(shop.ledger, torn_tail=True).shards
    return {line.shard: line for line in lines if _intact(shop.work, line)}


def _intact(work: Path, line: LedgerLine) -> bool:
    return all(
        (work / path).is_file() and sha256_file(work / path) == digest
        for path, digest in line.output_sha256.items()
    )


def run_tasks(
    shop: Workshop, tasks: Sequence[Task], job: Job, *, workers: Workers, title: str
) -> list[LedgerLine]:
    """Does every task that the ledger does not already hold; returns all lines in shard order."""
    lines = finished_lines(shop)
    todo = [task for task in tasks if task.shard not in lines]
    write_ledger(shop.ledger, lines.values())
    rows = sum(task.stop - task.start for task in tasks)
    done = rows - sum(task.stop - task.start for task in todo)
    with tqdm(total=rows, initial=done, unit="face", desc=title, smoothing=0.1) as bar:
        for line in workers.run(job, todo):
            append_line(shop.ledger, line)
            lines[line.shard] = line
            bar.update(line.num_rows)
    return [lines[task.shard] for task in tasks]


def seal(
    shop: Workshop, lines: Sequence[LedgerLine], others: Mapping[str, str], passport: Passport
) -> Passport:
    """Writes ledger and passport (with the root over all files).

    `others`: {relative path: sha256} of the store's files that are no task's. The sealed ledger
    keeps only files that are in the store: scratch pieces are gone.
    """
    inside = f"{shop.store.name}/"
    kept = [replace(line, output_sha256=_inside(line.output_sha256, inside)) for line in lines]
    return seal_store(shop.store, kept, others, passport)


def _inside(hashes: Mapping[str, str], folder: str) -> dict[str, str]:
    return {
        path.removeprefix(folder): sha for path, sha in hashes.items() if path.startswith(folder)
    }


def relink(shop: Workshop) -> None:
    """Delivers a finished store; pieces and older builds of this stage are let go."""
    deliver(shop.store, shop.output)
    shutil.rmtree(shop.work / "pieces", ignore_errors=True)
    for stray in shop.work.glob(".*.tmp"):  # of a killed process
        stray.unlink()
    forget_others(shop.work)
