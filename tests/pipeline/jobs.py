"""Jobs that leave a mark for every time they are begun, and some of which come to grief."""

from __future__ import annotations

import errno
import os
import resource
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from manifests.building.writing import Task
from manifests.core.errors import InputError

FATAL = 3  # the shard over which something happens
NAP = 0.15  # seconds that a task takes
BLOCK = 1 << 26  # bytes, which glibc by default maps anew every time


@dataclass(frozen=True)
class Job:
    """A picklable job: the marks lie in `folder`, and it happens to shard FATAL."""

    folder: Path

    def __call__(self, task: Task) -> int:
        (self.folder / f"{task.shard}.{os.getpid()}.{time.monotonic_ns()}").touch()
        time.sleep(NAP)
        if task.shard == FATAL:
            self.happen()
        return task.shard

    def happen(self) -> None:
        """Nothing."""


class Killed(Job):
    """Its worker is killed, as by the kernel that is out of memory."""

    def happen(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class KilledOnce(Killed):
    def happen(self) -> None:
        try:
            (self.folder / "killed").touch(exist_ok=False)
        except FileExistsError:
            return
        super().happen()


class Refused(Job):
    def happen(self) -> None:
        raise InputError("faces.zarr: row 3 is\nno face")


def new_pages(task: Task) -> int:
    """Pages that the kernel hands out for a block as large as one that was just freed."""
    bytes([task.shard]) * BLOCK
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytes([task.shard]) * BLOCK
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


class DiskFull(Job):
    def happen(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "store/images/c/3")


class Faulty(Job):
    def happen(self) -> None:
        raise KeyError("a bug")


def begun(folder: Path) -> Counter[int]:
    """How often each shard was begun."""
    return Counter(int(path.name.partition(".")[0]) for path in folder.glob("[0-9]*"))
