"""Training by several processes (torchrun), each of which does its share of every batch.

All processes read the same faces and draw the same numbers; each keeps its own rows, and
gradients are averaged. So the faces, their order and their noise are those of one process. What
differs is the statistics that BatchNorm takes from a share instead of a batch; on GPUs
SyncBatchNorm takes them over all shares.

Memory that a process frees is kept for its next step. A step allocates and frees the same
hundreds of megabytes again and again. By default glibc gives blocks of that size back at once and
gets them anew, page by page, zeroed: on a CPU a tenth of a step (docs/log/training.md). No
bit of a result depends on it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from manifests.core.digests import canonical_json, sha256_text
from manifests.core.errors import InputError
from manifests.core.sources import loaded
from pipeline.arrays.numerics import device_of


@dataclass(frozen=True)
class Processes:
    """This process among those of its run."""

    rank: int = 0
    count: int = 1
    local: int = 0  # on its machine: the GPU that it uses

    @property
    def first(self) -> bool:
        """Only the first one writes files and speaks."""
        return self.rank == 0

    def rows(self, batch: int) -> slice:
        """Its share of a batch."""
        size = batch // self.count
        return slice(self.rank * size, (self.rank + 1) * size)

    def device(self, name: str) -> torch.device:
        device = device_of(name)
        return torch.device("cuda", self.local) if device.type == "cuda" else device

    def joined(self, module: nn.Module, device: torch.device) -> nn.Module:
        """A module whose gradients are the mean over all processes."""
        if self.count == 1:
            return module
        ids = [device] if device.type == "cuda" else None
        if device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(module, device_ids=ids)

    def mean(self, number: torch.Tensor) -> float:
        """Of one number a process."""
        if self.count > 1:
            distributed.all_reduce(number)
        return float(number) / self.count

    def require_alike(self, inputs: str) -> None:
        """Raises InputError, in all processes, for one that was started with other inputs (their
        digest) or runs other code than the first: the run would be neither's."""
        if self.count == 1:
            return
        mine = loaded()
        parts = {
            "parameters, stores or arithmetic": inputs,
            "code": canonical_json(dict(mine.code)),
            "libraries": canonical_json(dict(mine.libraries)),
        }
        digests = [sha256_text(part) for part in parts.values()]
        stated = self._gather(torch.tensor([list(bytes.fromhex(each)) for each in digests]))
        for rank, other in enumerate(stated):
            for name, same in zip(parts, (other == stated[0]).all(dim=1).tolist(), strict=True):
                if not same:
                    raise InputError(
                        f"process {rank} of {self.count} has other {name} than process 0; start "
                        "all from the same folder, on machines of one kind, with the packages of "
                        "one lock file"
                    )

    def _gather(self, numbers: torch.Tensor) -> list[torch.Tensor]:
        """The same of every process, by rank."""
        on_gpus = distributed.get_backend() == "nccl"
        mine = numbers.to(self.device("cuda")) if on_gpus else numbers
        found = [torch.empty_like(mine) for _ in range(self.count)]
        distributed.all_gather(found, mine)
        return found

    def wait(self) -> None:
        """Until all have come here."""
        if self.count > 1:
            distributed.barrier()


ALONE = Processes()


def described() -> Processes:
    """What torchrun says of this process in its environment."""
    try:
        rank, count, local = (
            int(os.environ.get(name, default))
            for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
        )
    except ValueError:
        raise InputError(
            "RANK, WORLD_SIZE and LOCAL_RANK of the environment are no numbers; start several "
            "processes by torchrun, or unset them"
        ) from None
    if not (0 <= rank < count and 0 <= local < count):
        raise InputError(
            f"RANK {rank}, WORLD_SIZE {count}, LOCAL_RANK {local} of the environment: no such "
            "process; start several processes by torchrun, or unset them"
        )
    return Processes(rank, count, local)


@contextmanager
def together(processes: Processes, device: torch.device) -> Iterator[None]:
    """The processes of a run know each other inside."""
    if processes.count == 1:
        yield
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


# mallopt's parameters, of <malloc.h>
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT_BYTES, LARGEST_KEPT_BLOCK = 2**31 - 1, 2**30


def keep_freed_memory() -> bool:
    """For all allocations of this process from now on; False where there is no glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    done = [mallopt(TRIM_THRESHOLD, KEPT_BYTES), mallopt(MMAP_THRESHOLD, LARGEST_KEPT_BLOCK)]
    return all(done)
