"""What a plan says: a table, what it rests on, whether it fits the disk, and warnings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from manifests.stores.reading import CHUNK_ROWS
from pipeline.planning.estimates import Estimates, Parts
from pipeline.planning.forecasts import ONLINE_FACES, Forecast, memory_bytes, online_seconds, total
from pipeline.teachers.base import VIEWS

MOST_FILES = 100_000  # dvc add: 3.3 s for 5,000 files; minutes to hours from here on
SHARD_BYTES = (10e6, 100e6)  # less: many files; more: much to lose and to send at a time
HEADER = (
    "", "faces", "usable", "shards", "rendered", "embedded", "files", "size",
    "render", "embed", "both",
)  # fmt: skip
BYTES = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0))
SECONDS = (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0), ("s", 1.0))


@dataclass(frozen=True)
class Plan:
    """What rendering and embedding would take: rounds by their names, and numbers of latents."""

    rounds: Sequence[Forecast]
    simulated: Sequence[Forecast]
    parts: Parts
    estimates: Estimates
    free_bytes: int
    workers: int  # processes that render at a time

    @property
    def together(self) -> list[Forecast]:
        return [total("all rounds", self.rounds)] if len(self.rounds) > 1 else []

    @property
    def wholes(self) -> list[Forecast]:
        """What has to fit together: the rounds, and each simulated number of faces."""
        return [*(self.together or self.rounds), *self.simulated]

    @property
    def fits(self) -> bool:
        return all(whole.bytes_needed <= self.free_bytes for whole in self.wholes)


def table(plan: Plan) -> list[str]:
    """A line for each forecast, numbers right-aligned below their heads."""
    rows = [HEADER]
    rows += [_cells(each, known=True) for each in [*plan.rounds, *plan.together]]
    rows += [_cells(each, known=False) for each in plan.simulated]
    first, *widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(first), *map(str.rjust, row[1:], widths)]) for row in rows]


def _cells(each: Forecast, *, known: bool) -> tuple[str, ...]:
    done = [f"{stage.num_done:,}" if known else "-" for stage in (each.render, each.embed)]
    return (
        each.name,
        f"{each.num_faces:,}",
        f"{each.num_usable:,}",
        f"{each.render.num_shards:,}",
        *done,
        f"{each.both.num_files:,}",
        in_bytes(each.both.num_bytes),
        *(in_time(stage.seconds) for stage in (each.render, each.embed, each.both)),
    )


def notes(plan: Plan) -> Iterator[str]:
    """What the table rests on, what is left to do, and whether it fits the disk."""
    by = plan.estimates
    views = f"{len(VIEWS)} views each"
    for words, found in (
        (f"size    {in_bytes(by.face_bytes.value)} a face", by.face_bytes),
        (f"        {in_bytes(by.embedding_bytes.value)} its embeddings", by.embedding_bytes),
        (f"usable  {100 * by.usable.value:.1f} % of the latents", by.usable),
        (f"render  {by.render_rate.value:,.0f} latents a second", by.render_rate),
        (f"embed   {by.embed_rate.value:,.0f} usable faces a second, {views}", by.embed_rate),
    ):
        yield f"{words} ({found.source})"
    if any(whole.both.num_done for whole in plan.wholes):
        left = plan.wholes[0].both
        yield (
            f"left    {in_time(left.seconds_left)} and {in_bytes(left.bytes_left)} of "
            f"{plan.wholes[0].name}: shards that a ledger in .work/ names are done"
        )
    # Measured with DVC's hard links too: data/ and the cache share a copy, .work/ has one.
    yield (
        f"disk    {in_bytes(plan.free_bytes)} free; needed at worst, with all bytes twice (in "
        ".work/, and in data/ or DVC's cache if these cannot share files with it) and pieces:"
    )
    for whole in plan.wholes:
        short = "" if whole.bytes_needed <= plan.free_bytes else ": does not fit"
        yield f"        {in_bytes(whole.bytes_needed)} for {whole.name}{short}"
    seconds = online_seconds(plan.estimates)
    shares = (
        f"{_three(100 * each.both.seconds / seconds)} % for {each.name}" for each in plan.wholes
    )
    yield (
        f"online  {in_time(seconds)} for each student of an online SynthDistill run "
        f"({ONLINE_FACES / 1e6:.1f} million renders and teacher forwards, same rates); of that, "
        f"once for all students: {', '.join(shares)}"
    )


def warnings(plan: Plan) -> Iterator[str]:
    """What will go badly though it may fit, a line each."""
    forecasts = [*plan.rounds, *plan.simulated]
    if any(each.render.num_shards > 1 for each in forecasts):
        yield from _shard_size(plan)
    here = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for each in forecasts:
        if each.both.num_files > MOST_FILES:
            yield (
                f"{each.name}: {each.both.num_files:,} files, and DVC takes minutes to hours over "
                f"more than {MOST_FILES:,}; split it into rounds, or raise render: shard_rows"
            )
        latents = memory_bytes(each.num_faces, plan.parts)
        if latents * plan.workers > here:
            yield (
                f"{each.name}: its latents fill {in_bytes(latents)} in each of {plan.workers} "
                f"workers, this machine has {in_bytes(here)}; split it into rounds"
            )


def _shard_size(plan: Plan) -> Iterator[str]:
    rows, face_bytes = plan.parts.params.render.shard_rows, plan.estimates.face_bytes.value
    low, high = SHARD_BYTES
    if low <= rows * face_bytes <= high:
        return
    better = CHUNK_ROWS * max(1, round((low * high) ** 0.5 / face_bytes / CHUNK_ROWS))
    yield (
        f"a shard of {rows:,} faces is {in_bytes(rows * face_bytes)}, 10 to 100 MB are well; "
        f"render: shard_rows: {better} gives {in_bytes(better * face_bytes)}, but what is rendered "
        "with another value is rendered again"
    )


def in_bytes(count: int | float) -> str:
    return _in_units(count, BYTES)


def in_time(seconds: int | float) -> str:
    """In the largest unit of which there are at least two."""
    return _in_units(seconds, SECONDS, at_least=2.0)


def _in_units(
    amount: int | float, units: Sequence[tuple[str, float]], at_least: float = 1.0
) -> str:
    name, unit = next((each for each in units if amount >= at_least * each[1]), units[-1])
    return f"{_three(amount / unit)} {name}"


def _three(number: float) -> str:
    """With three digits, or with all before the point."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def as_json(plan: Plan) -> dict[str, Any]:
    """The numbers, for programs."""
    forecasts = [*plan.rounds, *plan.together, *plan.simulated]
    return {
        "generator": plan.parts.generator.name,
        "teacher": plan.parts.teacher.name,
        "shard_rows": plan.parts.params.render.shard_rows,
        "workers": plan.workers,
        "estimates": asdict(plan.estimates),
        "forecasts": [asdict(each) | {"bytes_needed": each.bytes_needed} for each in forecasts],
        "free_bytes": plan.free_bytes,
        "fits": plan.fits,
        "online": {"faces": ONLINE_FACES, "seconds": online_seconds(plan.estimates)},
        "warnings": list(warnings(plan)),
    }
