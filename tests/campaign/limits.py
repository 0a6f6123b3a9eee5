"""A machine that refuses: files may not grow, the disk is full, a store may not be written."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from manifests.building.ledger import NAME as LEDGER
from manifests.building.ledger import read_ledger
from manifests.core.digests import folder_hashes
from tests.campaign.ground import OUTPUTS, Ground, Outcome, build, change_params, progress
from tests.campaign.processes import Ended, cluster
from tests.campaign.processes import run as run_module

NAME = "limits"
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
SKIPPED = "skipped"


@dataclass(frozen=True)
class Shortage:
    """A build that runs out of room. `bytes`: of the largest file, or of the whole disk."""

    stage: str
    workers: int | None  # None: on a cluster, whose workers have the limit
    bytes: int
    disk: bool = False


SHORTAGES: Sequence[Shortage] = (
    Shortage("render", 1, 100_000),  # no shard of pixels fits
    Shortage("render", 2, 1_250_000),  # some do
    Shortage("embed", 1, 100_000),  # pieces do, the assembled column does not
    Shortage("embed", 2, 20_000),
    Shortage("render", None, 1_250_000),
    Shortage("render", 1, 6 << 20, disk=True),
    Shortage("render", 2, 6 << 20, disk=True),
)
COUNT = len(SHORTAGES) + 1  # and a store that may not be written


def run(ground: Ground, index: int) -> Outcome:
    if index == len(SHORTAGES):
        return _read_only(ground, index)
    shortage = SHORTAGES[index]
    folder = ground.root / f"limit-{index}"
    detail: dict[str, Any] = {}
    if shortage.disk:
        if not _mount(folder, shortage.bytes):
            return Outcome(f"{NAME}:{index}", f"{shortage}", (), {SKIPPED: "no right to mount"})
        shutil.copytree(ground.prepared, folder, symlinks=True, dirs_exist_ok=True)
    else:
        ground.fresh(folder.name, shortage.stage)
    try:
        faults = list(_fill_and_resume(ground, folder, shortage, detail))
    finally:
        if shortage.disk:
            subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(folder)
    return Outcome(f"{NAME}:{index}", f"{shortage}", tuple(faults), detail)


def _fill_and_resume(
    ground: Ground, folder: Path, shortage: Shortage, detail: dict[str, Any]
) -> Iterator[str]:
    ended = _short_of_room(folder, shortage)
    reached = progress(folder, shortage.stage)
    detail |= {"complaint": ended.complaint, "lines": reached.lines}
    if ended.code != 2 or not ended.complaint or "run it again" not in ended.complaint:
        yield f"out of room it ended with {ended.code}: {ended.err[-500:]}"
    if left := list(folder.rglob("*.tmp")):
        yield f"out of room it left {left[0].name}"
    kept = _recorded(folder)
    if shortage.disk:
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
    done = build(folder, shortage.stage, "--workers", "1")
    if done.code or done.err:
        yield f"with room again it ended with {done.code}: {done.err[-300:]}"
    detail["shards_kept"] = sum(path.stat().st_ino == inode for path, inode in kept.items())
    if detail["shards_kept"] < len(kept):
        yield f"{len(kept)} shards were finished, {detail['shards_kept']} were kept"
    yield from ground.unlike(folder, shortage.stage)


def _recorded(folder: Path) -> dict[Path, int]:
    """The finished shards of pixels, and which files they are."""
    paths = [
        ledger.parent / name
        for ledger in folder.glob(f".work/*/*/{LEDGER}")
        for line in read_ledger(ledger).shards
        for name in line.output_sha256
        if name.startswith("store/")
    ]
    return {path: path.stat().st_ino for path in paths}


def _short_of_room(folder: Path, shortage: Shortage) -> Ended:
    limit = None if shortage.disk else partial(limit_files, shortage.bytes)
    if shortage.workers is not None:
        return build(folder, shortage.stage, "--workers", str(shortage.workers), prepare=limit)
    with cluster(folder, prepare=limit) as machines:
        return build(folder, shortage.stage, "--scheduler", machines.address)


def limit_files(num_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


def _mount(folder: Path, num_bytes: int) -> bool:
    """A small disk of its own at `folder`, if this user may make one."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={num_bytes}", "facestill", str(folder)]
    try:
        mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        folder.rmdir()
    return mounted


def _read_only(ground: Ground, index: int) -> Outcome:
    """A store without any right to write: read and verified, but not replaced."""
    folder = Path(shutil.copytree(ground.built, ground.root / f"limit-{index}", symlinks=True))
    text, detail = "a store that may not be written", {"read_only": "refused in one line"}
    faults: list[str] = []
    with _without_rights(folder / OUTPUTS["render"]) as prepare:
        if prepare is None:
            detail = {SKIPPED: "rights cannot be given up"}
        else:
            faults += _use_read_only(ground, folder, prepare)
    shutil.rmtree(folder)
    return Outcome(f"{NAME}:{index}", text, tuple(faults), detail)


def _use_read_only(ground: Ground, folder: Path, prepare: Callable[[], None]) -> Iterator[str]:
    store = OUTPUTS["render"]
    verified = run_module(folder, "manifests.check", str(store), prepare=prepare)
    if verified.code or "sound faces" not in verified.out:
        yield f"verify ended with {verified.code}: {verified.out} {verified.err}"
    embedded = build(folder, "embed", "--workers", "1", prepare=prepare)
    if embedded.code or embedded.err:
        yield f"embedding it ended with {embedded.code}: {embedded.err[-300:]}"
    change_params(folder, "render", detect_threshold=0.5)
    refused = build(folder, "render", "--workers", "1", prepare=prepare)
    if refused.code != 2 or "may not be written" not in refused.complaint:
        yield f"replacing it ended with {refused.code}: {refused.err[-300:]}"
    if folder_hashes(folder / store) != ground.reference["render"]:
        yield "it was changed all the same"


@contextmanager
def _without_rights(store: Path) -> Iterator[Callable[[], None] | None]:
    """Inside, nobody may write the store who first does what is given: root gives up its right to
    pass over permissions. None if it cannot."""
    paths = [store, *store.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path in reversed(paths):
        path.chmod(modes[path] & 0o555)
    try:
        yield _give_up_override if _may_drop() else None
    finally:
        for path in paths:
            path.chmod(modes[path])


_LIBC = ctypes.CDLL(None, use_errno=True)


def _give_up_override() -> None:
    if os.geteuid() == 0 and _LIBC.prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def _may_drop() -> bool:
    done = subprocess.run(["true"], preexec_fn=_try_to_give_up, check=False)  # in a child
    return done.returncode == 0


def _try_to_give_up() -> None:
    try:
        _give_up_override()
    except OSError:
        os._exit(1)


def summary(ground: Ground, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "limits": {outcome.text: dict(outcome.detail) or "as promised" for outcome in outcomes},
        "limits_skipped": sum(SKIPPED in outcome.detail for outcome in outcomes),
    }
