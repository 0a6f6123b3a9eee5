"""Who does the work: this process, worker processes of its own, or a cluster of dask's.

A job is a picklable function of a task that writes its own files; the same bytes come of it
wherever it runs, and a worker that dies costs the task that it was at.
"""

from __future__ import annotations

import argparse
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from manifests.building import Task
from manifests.errors import InputError

R = TypeVar("R")
DEATHS = 3  # workers that one task may cost before it is given up
_ONE_AT_A_TIME = threading.Lock()  # a cluster's worker may have threads; our backends have none


@dataclass(frozen=True)
class Crew:
    """`scheduler`: address of a cluster; without one, `workers` processes of this machine."""

    workers: int = 1
    scheduler: str | None = None

    def run(self, job: Callable[[Task], R], tasks: Sequence[Task]) -> Iterator[R]:
        """The results of all tasks, as they come."""
        if not self.scheduler and min(self.workers, len(tasks)) <= 1:
            yield from map(job, tasks)  # in this process, with all its threads
            return
        with _client(self, len(tasks)) as client:
            executor = client.get_executor(pure=False)
            for future in as_completed([executor.submit(_one, job, task) for task in tasks]):
                yield _result(future)


def _one(job: Callable[[Task], R], task: Task) -> R:
    with _ONE_AT_A_TIME:
        return job(task)


def _result(future: Any) -> Any:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise InputError(
            f"{DEATHS + 1} workers died over one shard (out of memory?); {error.last_worker}: "
            "take fewer workers and run it again, finished shards are kept"
        ) from None


@contextmanager
def _client(crew: Crew, num_tasks: int) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster  # half a second that one process need not wait

    with dask.config.set({"distributed.scheduler.allowed-failures": DEATHS}):
        if crew.scheduler:
            with _connected(crew.scheduler) as client:
                yield client
            return
        with (
            LocalCluster(
                n_workers=min(crew.workers, num_tasks),
                threads_per_worker=1,
                memory_limit=0,  # a worker's memory is a shard's; it is not to be spilled
                dashboard_address=None,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"--scheduler {address}: no cluster answers there ({error}); start one: "
            "dask scheduler, then dask worker ADDRESS from this folder"
        ) from None
    with client:
        yield client


def add_options(parser: argparse.ArgumentParser) -> None:
    """--workers and --scheduler of every stage that works shard by shard."""
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--workers", type=int, default=cores, help="processes of this machine")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="a dask cluster, in their place")


def crew_of(args: argparse.Namespace) -> Crew:
    if args.workers < 1:
        raise InputError(f"--workers {args.workers}: expected at least 1")
    return Crew(args.workers, args.scheduler)
