"""What a face costs here: bytes, seconds, and how many latents become faces.

Each number is measured where this checkout holds something to measure, and says where it is
from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.stores.passport import NAME as PASSPORT
from manifests.stores.passport import Passport
from pipeline.planning.parts import Parts, row_bytes
from pipeline.render import fingerprint


@dataclass(frozen=True)
class Estimate:
    """A number, and in words where it is from."""

    value: float
    source: str


@dataclass(frozen=True)
class Estimates:
    """What a plan is made with."""

    face_bytes: Estimate  # of a row of a face store
    embedding_bytes: Estimate  # of a row of a teacher store
    usable: Estimate  # share of the latents in whose pictures a face is found
    render_rate: Estimate  # latents a second
    embed_rate: Estimate  # usable faces a second, each in all views


@dataclass(frozen=True)
class Cost:
    """A build that was recorded: a line of runs/costs."""

    stage: str
    round: str
    seconds: float
    rows: int

    @property
    def rate(self) -> float:
        return self.rows / self.seconds


def estimate(parts: Parts) -> Estimates:
    """From the stores and recorded builds of this checkout, else from a sample made now."""
    settings, teacher = parts.params, parts.teacher
    made_by = fingerprint(parts.generator, settings.render, settings.device)
    faces = list(_stores(layout.faces, made_by.identity))
    embedded = list(_stores(lambda name: layout.teacher(name, teacher.name), teacher.identity()))
    costs = list(read_costs())
    by_teacher = [cost for cost in costs if _one_teacher(cost.round, teacher.name)]
    return Estimates(
        face_bytes=_stored(faces, row_bytes([parts.pictures, *parts.face_columns])),
        embedding_bytes=_stored(embedded, row_bytes(parts.teacher_columns)),
        usable=_found(faces) or _sampled(parts, "usable"),
        render_rate=recorded_rate("render", costs) or _sampled(parts, "render_rate"),
        embed_rate=recorded_rate("embed", by_teacher) or _sampled(parts, "embed_rate"),
    )


def spread_over(estimates: Estimates, workers: int, cores: int) -> Estimates:
    """Rates of so many workers, where those known are of a worker on each of `cores`."""
    render, embed = (
        Estimate(
            rate.value * workers / cores,
            f"{rate.source}; {workers} workers taken as {workers / cores:.3g} times the {cores} "
            "cores here, each with a core of its own",
        )
        for rate in (estimates.render_rate, estimates.embed_rate)
    )
    return replace(estimates, render_rate=render, embed_rate=embed)


def _sampled(parts: Parts, name: str) -> Estimate:
    return Estimate(getattr(parts.sample, name), parts.sample.source)


def _stores(
    path_of: Callable[[str], Path], identity: Mapping[str, Any]
) -> Iterator[tuple[Path, Passport]]:
    """This checkout's sealed stores that the same parts made, with faces in them."""
    for folder in sorted(layout.DATA.glob("*/")):
        path = path_of(folder.name)
        if (path / PASSPORT).exists():
            passport = Passport.read(path)
            if passport.fingerprint.identity == identity and passport.num_rows:
                yield path, passport


def _stored(stores: Sequence[tuple[Path, Passport]], uncompressed: int) -> Estimate:
    """Bytes of a row as stored on this disk."""
    if not stores:
        return Estimate(float(uncompressed), "uncompressed, an upper bound: no such store is here")
    files = (file for path, _ in stores for file in path.rglob("*") if file.is_file())
    num_bytes = sum(file.stat().st_size for file in files)
    num_rows = sum(passport.num_rows for _, passport in stores)
    return Estimate(
        num_bytes / num_rows, f"measured, {num_rows:,} rows in {_several(stores, 'store')}"
    )


def _found(stores: Sequence[tuple[Path, Passport]]) -> Estimate | None:
    if not stores:
        return None
    usable = sum(passport.num_ok for _, passport in stores)
    num_rows = sum(passport.num_rows for _, passport in stores)
    return Estimate(usable / num_rows, f"of {num_rows:,} in {_several(stores, 'store')}")


def read_costs() -> Iterator[Cost]:
    """The recorded builds that tell how many faces they made; relinking a store records none.

    Raises InputError naming a file with a line that is none.
    """
    for path in sorted(layout.COSTS.glob("*.jsonl")):
        complete, _, _ = path.read_text(encoding="utf-8").rpartition("\n")  # a torn line is left
        for text in complete.splitlines():
            try:
                line = json.loads(text)
                stage, _, round = line["stage"].partition("@")
                seconds, rows = float(line["seconds"]), int(line.get("rows") or 0)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise InputError(f"{path}: not a line of costs ({error}); remove it") from None
            if seconds > 0 and rows > 0:
                yield Cost(stage, round, seconds, rows)


def recorded_rate(stage: str, costs: Iterable[Cost]) -> Estimate | None:
    """The median, as a resumed build is recorded with all its rows and would spoil a mean."""
    rates = [cost.rate for cost in costs if cost.stage == stage]
    return Estimate(median(rates), f"median of {_several(rates, 'build')} here") if rates else None


def _several(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'s' if len(things) != 1 else ''}"


def _one_teacher(round: str, teacher: str) -> bool:
    """Recorded costs do not name the teacher: those of rounds that have another's embeddings
    say nothing."""
    stores = layout.teacher(round, teacher).parent.glob("*.zarr") if round else ()
    return all(store.stem == teacher for store in stores)
