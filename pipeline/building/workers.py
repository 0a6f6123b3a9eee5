"""Who does the work: this process, worker processes of its own, or a cluster of dask's.

A job is a picklable function of a task that writes its own files; the same bytes come of it
wherever it runs, and a worker that dies costs the task that it was at.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from manifests.building.writing import Task
from manifests.core.errors import InputError
from manifests.core.sources import loaded
from pipeline.building.meeting import GONE, START, Here, meet, meeting_place, wait_for

R = TypeVar("R")
MOST_WORKERS = 1024  # processes of one machine
DEATHS = 3  # workers that one task may cost before it is given up
PATIENCE = "10s"  # for a cluster to answer
ENVIRON = "distributed.nanny.pre-spawn-environ."  # of worker processes of this machine
SETTINGS = {
    "distributed.scheduler.allowed-failures": DEATHS,
    # What goes wrong in a job reaches the user as an error of one line, not from every process.
    f"{ENVIRON}DASK_LOGGING__DISTRIBUTED": "critical",
    # glibc gives large blocks back at once (dask has it do so even sooner), and a network gets
    # its activations anew, page by page, with every batch: a third of the teacher's time.
    f"{ENVIRON}MALLOC_ARENA_MAX": "1",  # tasks run in a thread, whose own arena gives back anyway
    f"{ENVIRON}MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    f"{ENVIRON}MALLOC_MMAP_THRESHOLD_": str(1 << 30),
}
_ONE_AT_A_TIME = threading.Lock()  # a cluster's worker may have threads; our backends have none


@dataclass(frozen=True)
class Workers:
    """`scheduler`: address of a cluster; without one, `processes` of this machine."""

    processes: int = 1
    scheduler: str | None = None

    def run(self, job: Callable[[Task], R], tasks: Sequence[Task]) -> Iterator[R]:
        """The results of all tasks, as they come.

        Raises InputError for a worker that runs other code than this process or stands in
        another folder, and where nobody is there to work.
        """
        if not self.scheduler and min(self.processes, len(tasks)) <= 1:
            yield from map(job, tasks)  # in this process, with all its threads
            return
        with _client(self, len(tasks)) as client, meeting_place() as place:
            here = Here(loaded(), place)
            meet(client, here)
            futures = [client.submit(_one, job, task, here, pure=False) for task in tasks]
            yield from _results(client, futures, here)


def _one(job: Callable[[Task], R], task: Task, here: Here) -> R:
    """Checked again behind it: a job loads more modules as it goes."""
    with _ONE_AT_A_TIME:
        here.require()
        result = job(task)
        here.require()
        return result


def _results(client: Any, futures: Sequence[Any], here: Here) -> Iterator[Any]:
    from distributed import as_completed

    completed = as_completed(futures)
    while not completed.is_empty():
        wait_for(completed.has_ready, client)
        yield _result(next(completed), client, here)


def _result(future: Any, client: Any, here: Here) -> Any:
    from distributed import KilledWorker

    try:
        return future.result()
    except (InputError, OSError):
        raise
    except KilledWorker as error:
        raise InputError(
            f"{DEATHS + 1} workers died over one shard (out of memory?); {error.last_worker}: "
            "take fewer workers and run it again, finished shards are kept"
        ) from None
    except CancelledError:
        raise InputError(GONE) from None
    except Exception:
        meet(client, here)  # one that joined since may be unable to do it
        raise
    finally:
        future.release()  # else the task is done again when the worker that did it dies later


@contextmanager
def _client(workers: Workers, num_tasks: int) -> Iterator[Any]:
    import dask
    from distributed import Client  # half a second that one process need not wait

    with dask.config.set(SETTINGS), _quiet():
        if workers.scheduler:
            with _connected(workers.scheduler) as client:
                yield client
            return
        with (
            _local_cluster(min(workers.processes, num_tasks)) as cluster,
            Client(cluster) as client,
        ):
            yield client


def _local_cluster(processes: int) -> Any:
    """Worker processes of this machine. One that dies before it is ready takes the others with
    it, so that they are started again."""
    from distributed import LocalCluster

    for _ in range(DEATHS + 1):
        try:
            with _deaf():
                return LocalCluster(
                    n_workers=processes,
                    threads_per_worker=1,
                    memory_limit=0,  # a worker's memory is a shard's; it is not to be spilled
                    dashboard_address="127.0.0.1:0",  # any free port: 8787 may be another run's
                )
        except RuntimeError as error:
            cause = error.__cause__ or error
    raise InputError(f"no worker process starts ({cause}); take fewer workers and run it again")


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes and threads that are started inside, and those that they start, do not hear
    Ctrl-C: it is for the command, which ends them."""
    resource_tracker.ensure_running()  # to start it, multiprocessing unblocks the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"--scheduler {address}: no cluster answers there ({error}); start one: "
            f"`python -m distributed.cli.dask_scheduler`, then {START}"
        ) from None
    with client:
        yield client


def num_cores() -> int:
    """That this process may use; where no system says so (macOS), those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def add_options(parser: argparse.ArgumentParser) -> None:
    """--workers and --scheduler of every stage that works shard by shard."""
    parser.add_argument(
        "--workers", type=int, default=num_cores(), help="processes of this machine"
    )
    parser.add_argument("--scheduler", metavar="ADDRESS", help="a dask cluster, in their place")


def workers_of(args: argparse.Namespace) -> Workers:
    if args.workers < 1:
        raise InputError(f"--workers {args.workers}: expected at least 1")
    if args.workers > MOST_WORKERS:
        raise InputError(
            f"--workers {args.workers}: expected at most {MOST_WORKERS} on one machine; more of "
            "them are a cluster (--scheduler)"
        )
    return Workers(args.workers, args.scheduler)
