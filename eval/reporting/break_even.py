"""When building a store once is cheaper than rendering and embedding in the training loop.

An online loop (SynthDistill: Otroshi Shahreza et al. 2023, arXiv 2308.14852) renders and embeds
every face that a student sees; a store is built once, for any number of students.

    offline, k students:  B + k T            B: building, T: training a student
    online, k students:   k (F c + T)        F: faces that a student sees, c: a face, one view

so that offline is cheaper from k = B / (F c) students on, or from B / c faces seen in all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from manifests.core import layout
from manifests.core.costs import full_rates
from manifests.core.errors import InputError
from manifests.core.files import read_json

# What a store needs beside rendering and embedding, and an online loop does not.
BUILDING = ("sample", "boundaries", "screen", "mine", "gap")
BENCH = layout.REPORTS / "bench.json"
STORED_VIEWS = 2  # that an embedding rate counts; an online loop needs one a face seen


@dataclass(frozen=True)
class Rates:
    """Usable faces a second."""

    render: float  # with detection and alignment
    embed: float  # two views
    source: str


@dataclass(frozen=True)
class BreakEven:
    """Seconds of both ways, and where they are equal."""

    rates: Rates
    num_faces: int  # in the stores
    faces_seen: int  # by one student
    render_seconds: float  # offline, once
    embed_seconds: float
    other_seconds: float  # BUILDING stages
    train_seconds: float  # of one student

    @property
    def build_seconds(self) -> float:
        return self.render_seconds + self.embed_seconds + self.other_seconds

    @property
    def online_face_seconds(self) -> float:
        """Of a face that an online loop sees: rendered once, embedded in one view."""
        return 1.0 / self.rates.render + 1.0 / (STORED_VIEWS * self.rates.embed)

    @property
    def faces(self) -> float:
        """Faces seen, of all students together, from which offline is cheaper."""
        return self.build_seconds / self.online_face_seconds

    @property
    def passes(self) -> float:
        """The same in passes over the stored faces."""
        return self.faces / self.num_faces

    @property
    def students(self) -> float:
        """The same in students of this length."""
        return self.faces / self.faces_seen

    def offline(self, students: int) -> float:
        return self.build_seconds + students * self.train_seconds

    def online(self, students: int) -> float:
        return students * (self.faces_seen * self.online_face_seconds + self.train_seconds)


def break_even(
    rates: Rates,
    seconds: Mapping[str, float],
    *,
    num_faces: int,
    faces_seen: int,
    train_seconds: float,
) -> BreakEven:
    """`seconds` are those of the stages that were run, named stage or stage@round."""
    other = sum(spent for name, spent in seconds.items() if name.partition("@")[0] in BUILDING)
    render, embed = num_faces / rates.render, num_faces / rates.embed
    return BreakEven(rates, num_faces, faces_seen, render, embed, other, train_seconds)


def measured_rates(usable_share: float) -> Rates | None:
    """Of reports/bench.json where there is one, else of the recorded builds; None where nothing
    was measured here."""
    if BENCH.exists():
        return bench_rates(BENCH, read_json(BENCH))
    render, embed = full_rates("render"), full_rates("embed")
    if not render or not embed or not usable_share:
        return None
    source = f"recorded costs, median of {len(render)} renders and {len(embed)} embeddings"
    return Rates(median(render) * usable_share, median(embed), source)


def bench_rates(path: Path, bench: Any) -> Rates:
    try:
        stages = bench["flow"]["stages"]
        cpus, workers = bench["machine"]["cpus"], stages["workers"]
        render, embed = stages["render_and_align_usable"], stages["embed_two_views"]
        source = f"{path.as_posix()}, {cpus} CPUs, {workers} workers"
        return Rates(float(render), float(embed), source)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: no rates of the flow in it ({error}); run `make bench`"
        ) from None
