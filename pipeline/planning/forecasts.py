"""What rendering and embedding a number of latents will take. Pure arithmetic: shards and files
are exact, bytes and seconds are as good as the estimates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import reduce
from operator import add

from manifests.building.writing import Column
from manifests.stores.reading import COLUMN_SHARD_TASKS
from pipeline.building.embeddings import columns_of
from pipeline.building.faces import COLUMNS
from pipeline.planning.estimates import Estimates, Parts, row_bytes
from pipeline.teachers.base import VIEWS

# SynthDistill as released: 21 epochs of 7,812 steps, each with 128 fresh and 128 resampled faces,
# all of them rendered and embedded by the teacher while the student trains.
ONLINE_FACES = 21 * 7_812 * 128 * 2
COPIES = 2  # of every stored byte at worst: where DVC cannot link, its cache holds files again


@dataclass(frozen=True)
class Stage:
    """What a stage does for a round, or for several."""

    num_shards: int
    num_done: int  # of them, that a build with the same inputs has left in .work
    num_files: int  # of the sealed store
    num_bytes: float
    bytes_left: float  # to be written
    scratch_bytes: float  # of the pieces that lie in .work until the store is sealed
    seconds: float
    seconds_left: float

    def __add__(self, other: Stage) -> Stage:
        """Both, one after the other: their pieces never lie there at the same time."""
        both = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Stage)}
        both["scratch_bytes"] = max(self.scratch_bytes, other.scratch_bytes)
        return Stage(**both)


@dataclass(frozen=True)
class Forecast:
    """What both stages do for a round, or for several."""

    name: str
    num_faces: int  # latents, rows of the manifest
    num_usable: int
    render: Stage
    embed: Stage

    @property
    def both(self) -> Stage:
        return self.render + self.embed

    @property
    def bytes_needed(self) -> float:
        """Of free disk, at worst, until all is sealed."""
        return COPIES * self.both.bytes_left + self.both.scratch_bytes


def count_files(num_rows: int, task_rows: int, columns: Sequence[Column], *, pictures: bool) -> int:
    """Files of a sealed store: a shard of pictures a task, a shard of each column for every
    COLUMN_SHARD_TASKS tasks; zarr.json of every array and of the group; ledger, passport."""
    tasks = math.ceil(num_rows / task_rows)
    column_shards = math.ceil(tasks / COLUMN_SHARD_TASKS)
    return len(columns) * (column_shards + 1) + (tasks + 1 if pictures else 0) + 3


def forecast(
    name: str, num_faces: int, parts: Parts, by: Estimates, *, done: tuple[int, int] = (0, 0)
) -> Forecast:
    """For so many latents; `done`: shards that are rendered and embedded already."""
    usable, task_rows = num_faces * by.usable.value, parts.params.render.shard_rows
    render = _stage(
        (num_faces, task_rows, done[0]), COLUMNS,
        by.face_bytes.value, num_faces / by.render_rate.value, pictures=True,
    )  # fmt: skip
    embed = _stage(
        (num_faces, task_rows, done[1]), columns_of(parts.teacher),
        by.embedding_bytes.value, usable / by.embed_rate.value, pictures=False,
    )  # fmt: skip
    return Forecast(name, num_faces, round(usable), render, embed)


def _stage(
    shards: tuple[int, int, int],
    columns: Sequence[Column],
    stored: float,
    seconds: float,
    *,
    pictures: bool,
) -> Stage:
    """`shards`: rows of all, rows of one, number of those that are done. `stored`: bytes a row."""
    num_rows, task_rows, num_done = shards
    num_shards = math.ceil(num_rows / task_rows)
    left = 1 - num_done / num_shards if num_shards else 0.0
    num_bytes = num_rows * stored
    return Stage(
        num_shards=num_shards,
        num_done=num_done,
        num_files=count_files(num_rows, task_rows, columns, pictures=pictures),
        num_bytes=num_bytes,
        bytes_left=left * num_bytes,
        scratch_bytes=float(num_rows * row_bytes(columns)) if left else 0.0,
        seconds=seconds,
        seconds_left=left * seconds,
    )


def total(name: str, rounds: Sequence[Forecast]) -> Forecast:
    """Several rounds, one after the other; at least one."""
    render, embed = (reduce(add, (getattr(r, n) for r in rounds)) for n in ("render", "embed"))
    faces, usable = (sum(getattr(r, n) for r in rounds) for n in ("num_faces", "num_usable"))
    return Forecast(name, faces, usable, render, embed)


def online_seconds(estimates: Estimates) -> float:
    """Of rendering and embedding, one view each, for one online run of SynthDistill."""
    embeddings_a_second = len(VIEWS) * estimates.embed_rate.value
    return ONLINE_FACES / estimates.render_rate.value + ONLINE_FACES / embeddings_a_second


def memory_bytes(num_faces: int, parts: Parts) -> float:
    """Of the latents alone in each process that renders: the manifest's table, and an array."""
    return 2.0 * 4 * parts.generator.latent_width * num_faces
