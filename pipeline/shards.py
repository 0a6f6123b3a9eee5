"""Running a stage shard by shard: plan, resume, hand out, record, seal.

A stage works in .work/STAGE/INPUT_HASH and moves the finished store to its output. Resuming
trusts only ledger lines whose files still have the recorded hashes; a finished store whose
input hash comes up again is linked to the output without any work.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from manifests import layout
from manifests.building import Task
from manifests.digests import canonical_json, folder_hashes, merkle_root, sha256_file, sha256_text
from manifests.errors import InputError
from manifests.files import deliver, forget_others
from manifests.ledger import LedgerLine, append_line, read_ledger, write_ledger
from manifests.passport import NAME as PASSPORT
from manifests.passport import Passport
from manifests.stores import LEDGER, store_root

Job = Callable[[Task], LedgerLine]  # picklable: it is called in worker processes


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
    def finished(self) -> bool:
        return (self.store / PASSPORT).exists()


def open_workshop(stage: str, inputs: Mapping[str, Any], output: Path) -> Workshop:
    """The scratch folder for exactly these inputs (version number, params and digests)."""
    shop = Workshop(layout.WORK / stage / sha256_text(canonical_json(dict(inputs)))[:16], output)
    if shop.finished and not _sound(shop.store):
        shutil.rmtree(shop.work)  # damaged since (it shares its files with the output)
    return shop


def _sound(store: Path) -> bool:
    try:
        return store_root(store) == Passport.read(store).merkle_root
    except InputError:
        return False


def finished_lines(shop: Workshop) -> dict[int, LedgerLine]:
    """Ledger lines of an interrupted build whose files are still exactly what they say."""
    lines = read_ledger(shop.ledger, torn_tail=True)
    return {line.shard: line for line in lines if _intact(shop.work, line)}


def _intact(work: Path, line: LedgerLine) -> bool:
    return all(
        (work / path).exists() and sha256_file(work / path) == digest
        for path, digest in line.output_sha256.items()
    )


def run_tasks(
    shop: Workshop, tasks: Sequence[Task], job: Job, *, workers: int, title: str
) -> list[LedgerLine]:
    """Does every task that the ledger does not already hold; returns all lines in shard order."""
    lines = finished_lines(shop)
    todo = [task for task in tasks if task.shard not in lines]
    write_ledger(shop.ledger, lines.values())
    rows = sum(task.stop - task.start for task in tasks)
    done = rows - sum(task.stop - task.start for task in todo)
    with tqdm(total=rows, initial=done, unit="face", desc=title, smoothing=0.1) as bar:
        for line in _results(todo, job, workers):
            append_line(shop.ledger, line)
            lines[line.shard] = line
            bar.update(line.num_rows)
    return [lines[task.shard] for task in tasks]


def _results(todo: Sequence[Task], job: Job, workers: int) -> Iterator[LedgerLine]:
    if min(workers, len(todo)) <= 1:
        yield from map(job, todo)  # in this process, with all its threads
        return
    with worker_processes(min(workers, len(todo))) as executor:
        for future in as_completed([executor.submit(job, task) for task in todo]):
            yield future.result()


@contextmanager
def worker_processes(count: int) -> Iterator[Executor]:
    """Spawned (never forked: torch and faiss hold threads), one computing thread each."""
    with ProcessPoolExecutor(
        count, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def default_workers() -> int:
    return len(os.sched_getaffinity(0))


def seal(shop: Workshop, lines: Sequence[LedgerLine], passport: Passport) -> Passport:
    """Writes ledger and passport (with the root over all files), then delivers the store.

    The sealed ledger keeps only the files that are in the store: scratch pieces are gone.
    """
    inside = f"{shop.store.name}/"
    kept = [replace(line, output_sha256=_inside(line.output_sha256, inside)) for line in lines]
    write_ledger(shop.store / LEDGER, kept)
    _sweep(shop.store)
    hashes = folder_hashes(shop.store, leave_out=[PASSPORT])
    sealed = replace(passport, merkle_root=merkle_root(hashes), num_files=len(hashes))
    sealed.write(shop.store)
    relink(shop)
    return sealed


def _sweep(store: Path) -> None:
    """Removes what a killed process left: zarr's and our own temporary files."""
    for path in [*store.rglob("*.partial"), *store.rglob(".*.tmp")]:
        path.unlink()


def _inside(hashes: Mapping[str, str], folder: str) -> dict[str, str]:
    return {
        path.removeprefix(folder): sha for path, sha in hashes.items() if path.startswith(folder)
    }


def relink(shop: Workshop) -> None:
    """Delivers a finished store; pieces and older builds of this stage are let go."""
    deliver(shop.store, shop.output)
    shutil.rmtree(shop.work / "pieces", ignore_errors=True)
    forget_others(shop.work)
