"""Stages run as commands, watched and killed through the system's own list of processes.

Every process that comes of a command inherits a mark in its environment; so all of them are
found, whatever they are called and whoever their parent has become.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.conftest import ROOT

MARK = "FACESTILL_CAMPAIGN"
LONGEST = 240.0  # seconds that a command may take
QUIET = {"TQDM_DISABLE": "1"}  # bars are no error lines
Preparation = Callable[[], None] | None  # called in the child, before the command


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The only line on stderr; empty if there are more or none, or it is no error line."""
        lines = self.err.splitlines()
        return lines[0] if len(lines) == 1 and lines[0].startswith("error: ") else ""


@dataclass(frozen=True)
class Running:
    """A command that was started, in a process group of its own."""

    process: subprocess.Popen[bytes]
    mark: str
    log: Path

    def family(self) -> list[int]:
        """Every living process that came of it, itself included."""
        return sorted(self._family())

    def workers(self) -> list[int]:
        """Its worker processes, in the order of their ids."""
        found = self._family()
        return [pid for pid in sorted(found) if "spawn_main" in found[pid]]

    def _family(self) -> dict[int, str]:
        """The command line of every such process, by its id."""
        return {
            each.pid: " ".join(each.info["cmdline"] or ())
            for each in psutil.process_iter(["environ", "cmdline"])
            if (each.info["environ"] or {}).get(MARK) == self.mark
        }

    def running(self) -> bool:
        return self.process.poll() is None

    def kill(self, *, group: bool) -> None:
        (os.killpg if group else os.kill)(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait(self) -> Ended:
        """Its end; a command that does not end is killed, with all that came of it."""
        try:
            code = self.process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            self.kill(group=True)
            code = -signal.SIGKILL
        out, err = (
            self.log.with_suffix(end).read_text(encoding="utf-8") for end in (".out", ".err")
        )
        return Ended(code, out, err)

    def left_over(self, seconds: float = 5.0) -> int:
        """Processes that still live so long after the command's end; they are killed then."""
        deadline = time.monotonic() + seconds
        while (left := self.family()) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return len(left)


def start(folder: Path, *words: str, prepare: Preparation = None) -> Running:
    """`python -m WORDS` from `folder`, where a stage finds all that it reads of a checkout."""
    mark = secrets.token_hex(8)
    log = folder.parent / f"{folder.name}-logs" / mark
    log.parent.mkdir(exist_ok=True)
    scratch = {"DASK_TEMPORARY_DIRECTORY": str(log.parent)}
    with log.with_suffix(".out").open("wb") as out, log.with_suffix(".err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=folder,
            env={**os.environ, **QUIET, **scratch, "PYTHONPATH": str(ROOT), MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=prepare,
        )
    return Running(process, mark, log)


def run(folder: Path, *words: str, prepare: Preparation = None) -> Ended:
    running = start(folder, *words, prepare=prepare)
    ended = running.wait()
    left = running.left_over()
    return Ended(ended.code, ended.out, ended.err + f"{left} processes left over\n" * bool(left))


@dataclass(frozen=True)
class Cluster:
    """A dask scheduler and its workers on the loopback interface, started as commands."""

    address: str
    scheduler: Running
    workers: Sequence[Running]


@contextmanager
def cluster(folder: Path, workers: int = 2, prepare: Preparation = None) -> Iterator[Cluster]:
    """A cluster whose workers run in `folder`, as docs say; nothing of it stays."""
    file = folder.parent / f"{folder.name}-scheduler-{secrets.token_hex(4)}.json"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    scheduler = start(
        folder, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", *common
    )
    started = [scheduler]
    try:
        address = _address(file, scheduler)
        for _ in range(workers):
            words = ["--nthreads", "1", "--no-nanny", *common]
            started.append(start(folder, "distributed.cli.dask_worker", *words, prepare=prepare))
        yield Cluster(address, scheduler, started[1:])
    finally:
        for running in reversed(started):
            if running.running():
                running.kill(group=True)
        assert not sum(running.left_over() for running in started)


def _address(file: Path, scheduler: Running) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and scheduler.running():
        try:
            return str(json.loads(file.read_text(encoding="utf-8"))["address"])
        except (OSError, ValueError):
            time.sleep(0.05)
    raise RuntimeError(f"no scheduler: {scheduler.wait().err}")
