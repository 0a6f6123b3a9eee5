"""Make some rows of stores again and compare them with what is stored.

    facestill audit STORE … [--rows K] [--seed S] [--json FILE] [--workers N]

Exit 1 if any store is out of tolerance. Two machines agree within it: pixels differ by at most
1, in at most 1e-4 of the values; landmarks by at most half a pixel; centred embeddings have a
cosine of at least 0.9999.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import chain
from pathlib import Path
from shlex import join
from typing import Any

import numpy as np
from jaxtyping import Float

from manifests.building.writing import Task
from manifests.core import layout
from manifests.core.errors import InputError, Parser, run_command
from manifests.core.files import require_file_place, require_new, write_json
from manifests.core.progress import Bar
from manifests.settings.params import Params, load_params
from manifests.stores.passport import Passport
from manifests.stores.reading import FaceStore, TeacherStore
from pipeline.building.faces import Faces, read_faces
from pipeline.building.shards import Job
from pipeline.building.workers import Workers, add_options, workers_of
from pipeline.repair import check_same, open_build, with_shards_of

PIXEL, PIXEL_SHARE, LANDMARK, COSINE = 1, 1e-4, 0.5, 0.9999


@dataclass(frozen=True)
class Agreement:
    """How rows made again compare with the stored ones; two of these add up to one."""

    rows: int = 0
    other_outcome: int = 0  # rows that failed in one and not in the other
    values: int = 0  # pixels times colours compared
    unlike_values: int = 0
    largest_pixel: int = 0
    largest_landmark: float = 0.0  # pixels of the stored crop
    least_cosine: float = 1.0  # of centred embeddings

    def __add__(self, other: Agreement) -> Agreement:
        both = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        how: dict[str, Any] = {"least_cosine": min, "largest_pixel": max, "largest_landmark": max}
        return Agreement(**{name: how.get(name, sum)(pair) for name, pair in both.items()})

    @property
    def holds(self) -> bool:
        return (
            not self.other_outcome
            and self.largest_pixel <= PIXEL
            and self.unlike_values <= PIXEL_SHARE * self.values
            and self.largest_landmark <= LANDMARK
            and self.least_cosine >= COSINE
        )


def compare_faces(stored: Faces, again: Faces) -> Agreement:
    """Two renderings of the same rows."""
    found = stored.ok & again.ok
    apart = np.abs(stored.images.astype(np.int16) - again.images)
    moved = np.linalg.norm(stored.landmarks[found] - again.landmarks[found], axis=-1)
    return Agreement(
        rows=len(found),
        other_outcome=int((stored.reason != again.reason).sum()),
        values=apart.size,
        unlike_values=int((apart > 0).sum()),
        largest_pixel=int(apart.max(initial=0)),
        largest_landmark=float(np.nan_to_num(moved).max(initial=0.0)),
    )


def compare_embeddings(
    stored: Float[np.ndarray, "row view width"],
    again: Float[np.ndarray, "row view width"],
    centre: Float[np.ndarray, " width"],
) -> Agreement:
    """Two embeddings of the same rows, NaN where the face failed."""
    usable = [np.isfinite(rows).all(axis=(1, 2)) for rows in (stored, again)]
    both = usable[0] & usable[1]
    one, two = (rows[both].astype(np.float64) - centre for rows in (stored, again))
    norms = np.linalg.norm(one, axis=2) * np.linalg.norm(two, axis=2)
    cosines = (one * two).sum(axis=2) / np.maximum(norms, np.finfo(float).tiny)
    return Agreement(
        rows=len(both),
        other_outcome=int((usable[0] != usable[1]).sum()),
        least_cosine=float(cosines.min(initial=1.0)),
    )


@dataclass(frozen=True)
class AuditJob:
    """Makes the drawn rows of one shard again; travels to worker processes."""

    store: Path
    again: Job
    num_rows: int
    rows: int  # to be drawn of the whole store
    seed: int

    def __call__(self, task: Task) -> Agreement:
        drawn = draw(self.num_rows, self.rows, self.seed)
        rows = drawn[(drawn >= task.start) & (drawn < task.stop)]
        if not len(rows):
            return Agreement()
        again = self.again(rows)
        if self.store.name == layout.FACES:
            return compare_faces(read_faces(FaceStore.open(self.store), rows), Faces(**again))
        teacher = TeacherStore.open(self.store)
        stored = teacher.embeddings(task.start, task.stop)[rows - task.start]
        return compare_embeddings(stored, again["embeddings"], teacher.centre())


def draw(num_rows: int, count: int, seed: int) -> np.ndarray:
    """`count` of the rows, ascending; all of them if they are not more."""
    picked = np.random.default_rng(seed).permutation(num_rows)[:count]
    return np.sort(picked)


def audit(store: Path, params: Params, workers: Workers, *, rows: int, seed: int) -> Agreement:
    """Makes rows of a store again with today's parts.

    Raises InputError if those are not the parts that its passport names.
    """
    passport = Passport.read(store)
    build = open_build(store, with_shards_of(passport, params))
    check_same(store, passport, build, numerics=False)
    job = AuditJob(store, build.job, passport.num_rows, rows, seed)
    tasks = [task for task in build.tasks if _any_drawn(job, task)]
    title = f"audit {store}"
    found = Bar(workers.run(job, tasks), total=len(tasks), desc=title, unit="shard", leave=False)
    return sum(found, Agreement())


def _any_drawn(job: AuditJob, task: Task) -> bool:
    drawn = draw(job.num_rows, job.rows, job.seed)
    return bool(((drawn >= task.start) & (drawn < task.stop)).any())


def describe(store: Path, found: Agreement) -> str:
    """One line on what was compared and how far apart it is."""
    text = f"{store}: {'agrees' if found.holds else 'DOES NOT AGREE'} on {found.rows} rows"
    if store.name == layout.FACES:
        share = found.unlike_values / max(found.values, 1)
        text += f": pixels differ by at most {found.largest_pixel} in {share:.1e} of the values"
        text += f" (allowed {PIXEL} in {PIXEL_SHARE:.0e}), landmarks by at most"
        text += f" {found.largest_landmark:.2f} px (allowed {LANDMARK})"
    else:
        text += f": least cosine {found.least_cosine:.6f} (allowed {COSINE})"
    return f"{text}, {found.other_outcome} with another outcome"


def main() -> int:
    parser = Parser(__doc__)
    parser.add_argument("stores", nargs="+", type=layout.stores, metavar="STORE")
    parser.add_argument("--rows", type=int, default=256, help="drawn of each store (default 256)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_json()
    add_options(parser)
    args = parser.parse_args()
    for option, given, least in (("--rows", args.rows, 1), ("--seed", args.seed, 0)):
        if given < least:
            raise InputError(f"{option} {given}: expected at least {least}")
    if args.json:
        require_file_place(args.json)
        require_new(args.json, force=args.force)
    params, workers = load_params(), workers_of(args)
    stores = chain.from_iterable(args.stores)
    found = {}
    for store in stores:
        found[store] = audit(store, params, workers, rows=args.rows, seed=args.seed)
        print(describe(store, found[store]), flush=True)
    if args.json:
        values = {str(s): asdict(a) | {"holds": a.holds} for s, a in found.items()}
        write_json(args.json, values)
    return verdict(found)


def verdict(found: Mapping[Path, Agreement]) -> int:
    """The last line, and the exit status."""
    apart = [str(store) for store, agreement in found.items() if not agreement.holds]
    if not apart:
        print(f"{len(found)} of {len(found)} agree")
        return 0
    print(
        f"error: {len(apart)} of {len(found)} do not agree; next: facestill check "
        f"{join(apart)}, then ask who made them",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    from pipeline.audit import main as command  # workers know the job by this module's name

    run_command(command)
