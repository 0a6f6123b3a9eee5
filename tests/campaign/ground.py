"""What all cases start from: a laid-out folder, an undisturbed build, and its hashes."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from manifests.building.ledger import NAME as LEDGER
from manifests.core import layout
from manifests.core.digests import folder_hashes
from manifests.settings.params import PriorRound, load_params
from manifests.stores.passport import NAME as PASSPORT
from pipeline.sample import sample_prior, save
from tests.campaign.processes import Ended, Running, start
from tests.conftest import lay_out

SEED = 20  # of every random choice, with the number of its case
ROUND, SHARD_ROWS = "pool", 64
OUTPUTS = {"render": layout.faces(ROUND), "embed": layout.teacher(ROUND, "dlib-resnet")}
STAGES = tuple(OUTPUTS)
POLL = 0.001  # seconds


@dataclass(frozen=True)
class Outcome:
    """What became of a case; no faults: what was promised."""

    case: str  # as `--only` takes it
    text: str  # what was done to it
    faults: tuple[str, ...]
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pace:
    """Seconds of an undisturbed build by one worker: until its ledger is there, for a shard, and
    from the last shard until the store is delivered."""

    start_up: float = 3.0
    shard: float = 0.4
    tail: float = 0.1


@dataclass(frozen=True)
class Ground:
    """`prepared` has no build, `built` is the undisturbed one."""

    root: Path
    num_rows: int
    pace: Mapping[str, Pace] = field(default_factory=lambda: dict.fromkeys(STAGES, Pace()))

    @property
    def prepared(self) -> Path:
        return self.root / "prepared"

    @property
    def built(self) -> Path:
        return self.root / "built"

    @property
    def num_shards(self) -> int:
        return -(-self.num_rows // SHARD_ROWS)

    @cached_property
    def reference(self) -> dict[str, dict[str, str]]:
        return {stage: folder_hashes(self.built / path) for stage, path in OUTPUTS.items()}

    def fresh(self, name: str, stage: str = "render") -> Path:
        """A folder in which `stage` has everything it needs, and has not begun."""
        folder = copy(self.prepared, self.root / name)
        if stage == "embed":
            copy(self.built / OUTPUTS["render"], folder / OUTPUTS["render"])
        return folder

    def unlike(self, folder: Path, stage: str) -> list[str]:
        """What is not as in the undisturbed build, strays of every kind included."""
        found, wanted = folder_hashes(folder / OUTPUTS[stage]), self.reference[stage]
        names = sorted(name for name in found | wanted if found.get(name) != wanted.get(name))
        strays = [path.relative_to(folder).as_posix() for path in folder.rglob("*.tmp")]
        beside = {path.name for path in (folder / layout.DATA / ROUND).iterdir()}
        strays += sorted(beside - {"faces.zarr", "teachers"})
        return [f"{name} is not as it should be" for name in names] + [
            f"{name} is left over" for name in strays
        ]


def prepare(root: Path, weights: Path, num_rows: int) -> Ground:
    """Lays a round of `num_rows` latents out, in shards of SHARD_ROWS."""
    ground = Ground(root, num_rows)
    ground.prepared.mkdir(parents=True)
    with chdir(lay_out(ground.prepared, weights)):
        change_params(Path(), "render", shard_rows=SHARD_ROWS)
        save(sample_prior(ROUND, PriorRound(num_rows, 1), load_params()))
    return ground


def build_reference(ground: Ground) -> Ground:
    """The undisturbed build, by one worker, timed."""
    copy(ground.prepared, ground.built)
    pace = {stage: _timed_build(ground, stage) for stage in STAGES}
    shutil.rmtree(ground.built / layout.WORK)
    return replace(ground, pace=pace)


def _timed_build(ground: Ground, stage: str) -> Pace:
    begin = time.monotonic()
    running = command(ground.built, stage)
    marks = []
    for place in (Progress(lines=0), Progress(lines=ground.num_shards), DELIVERED):
        while progress(ground.built, stage) < place and running.running():
            time.sleep(POLL)
        marks.append(time.monotonic() - begin)
    ended = running.wait()
    if ended.code:
        raise RuntimeError(f"the undisturbed build failed: {ended.err}")
    first, last, delivered = marks
    return Pace(first, (last - first) / ground.num_shards, delivered - last)


def command(folder: Path, stage: str, *options: str, workers: int = 1, **how: Any) -> Running:
    """Starts a stage on the round."""
    words = options or ("--workers", str(workers))
    return start(folder, f"pipeline.{stage}", ROUND, *words, **how)


def build(folder: Path, stage: str, *options: str, **how: Any) -> Ended:
    """Runs a stage to its end; what it leaves running is a fault that ends in its stderr."""
    running = command(folder, stage, *options, **how)
    ended = running.wait()
    left = running.left_over()
    return replace(ended, err=ended.err + f"{left} processes are left over\n" * bool(left))


@dataclass(frozen=True, order=True)
class Progress:
    """How far a build has come, in the order of its fields."""

    delivered: bool = False
    sealed: bool = False
    assembled: bool = False  # the sealed ledger is there
    lines: int = -1  # of the ledger, -1 before there is one

    def stage(self, num_shards: int) -> str:
        if self.delivered:
            return "delivered"
        if self.sealed:
            return "delivering"
        if self.assembled:
            return "sealing"
        if self.lines == num_shards:
            return "assembling"
        return "shards" if self.lines >= 0 else "start-up"


def progress(folder: Path, stage: str) -> Progress:
    """From the files that a build leaves, which may go while they are looked at."""
    for work in (folder / layout.WORK).glob(f"{stage}-{ROUND}*/*/"):
        try:
            lines = (work / LEDGER).read_bytes().count(b"\n")
        except OSError:
            lines = -1
        store = work / "store"
        sealed = (store / PASSPORT).exists()
        done = sealed and (folder / OUTPUTS[stage] / PASSPORT).exists()
        return Progress(done, sealed, (store / LEDGER).exists(), lines)
    return Progress()


DELIVERED = Progress(delivered=True)


def holder(folder: Path, stage: str) -> int:
    """The process that writes, or wrote when it was killed; 0 if none."""
    for note in (folder / layout.WORK).glob(f"{stage}-{ROUND}*.holder.json"):
        try:
            return int(json.loads(note.read_text(encoding="utf-8"))["pid"])
        except OSError:  # it has just ended
            return 0
    return 0


def copy(source: Path, target: Path) -> Path:
    """Hard links: nothing of ours is ever changed in place."""
    return Path(shutil.copytree(source, target, symlinks=True, copy_function=os.link))


def change_params(folder: Path, section: str, **values: Any) -> None:
    """Rewrites params.yaml, whatever shares its bytes."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params[section] |= values
    path.unlink()
    path.write_text(yaml.safe_dump(params), encoding="utf-8")
