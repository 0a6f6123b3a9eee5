"""Rebuild the damaged shards of stores, and nothing else.

    facestill repair STORE … [--workers N | --scheduler ADDRESS]

Shards that `facestill check` finds sound are taken over; the stage builds the others, as if it
had been interrupted there. What comes out has the root that the store had before, or the command
fails.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from manifests.building.ledger import NAME as LEDGER
from manifests.building.ledger import LedgerLine, read_ledger, write_ledger
from manifests.building.writing import IMAGES, Column, Task, shard_path, write_metadata
from manifests.check import find_faults
from manifests.core import layout
from manifests.core.digests import canonical_json, sha256_file
from manifests.core.errors import InputError, Parser, run_command
from manifests.core.files import link_or_copy
from manifests.core.progress import Bar
from manifests.settings.params import Params, load_params
from manifests.stores.passport import Passport, Provenance
from manifests.stores.reading import COLUMN_SHARD_TASKS
from pipeline.building.shards import Build, finish, locked, record_code, relink, write_line
from pipeline.building.workers import Workers, add_options, workers_of
from pipeline.embed import open_embedding
from pipeline.render import open_rendering

INPUT_HASH = re.compile("[0-9a-f]{16}")
LINKS: Mapping[str, Callable[[Provenance], str]] = {
    "manifest or faces": lambda said: said.faces_root or said.manifest_digest,
    "identity": lambda said: canonical_json(said.fingerprint.identity),
    "numerics": lambda said: canonical_json(said.fingerprint.numerics),
}


def open_build(store: Path, params: Params) -> Build:
    """What would be done to build the store that lies at this path."""
    name = layout.round_of(store)
    if not name:
        raise InputError(
            f"{store}: only a store in its place can be built again (data/ROUND/{layout.FACES}, "
            "data/ROUND/teachers/NAME.zarr): bring it there with its manifest"
        )
    if store.name == layout.FACES:
        return open_rendering(name, params)
    return open_embedding(name, store.stem, params)


def repair(store: Path, params: Params, workers: Workers) -> str:
    """Makes a damaged store whole; says what was done.

    Raises InputError if today's parts or parameters would make another store; what is there
    then stays as it is.
    """
    faults = find_faults(store)
    if not faults:
        return f"{store}: sound, nothing to do"
    before = _passport_before(store)
    build = open_build(store, with_shards_of(before, params))
    if before is not None:
        check_same(store, before, build)
        build = as_sealed(store, before, build)
    kept = _rebuild(store, {fault.file for fault in faults}, build, before, workers)
    same = "root as before" if before else "its passport was lost: compare the root by hand"
    return f"{store}: {len(build.tasks) - kept} of {len(build.tasks)} shards built again; {same}"


def _passport_before(store: Path) -> Passport | None:
    try:
        before = Passport.read(store)
    except InputError:
        return None
    if before.schema_version < 2:
        raise InputError(
            f"{store}: of version 1, whose ledger does not name every file; build it again"
        )
    return before


def with_shards_of(before: Passport | None, params: Params) -> Params:
    """A store of another team may have been cut otherwise."""
    if before is None:
        return params
    return replace(params, render=replace(params.render, shard_rows=before.shard_rows))


def as_sealed(store: Path, before: Passport, build: Build) -> Build:
    """The build of a store in its own version, under the input hash that its ledger has: both are
    part of its root, and may be of an earlier version of the stage."""
    provenance = replace(build.provenance, schema_version=before.schema_version)
    try:
        hashes = {line.input_hash for line in read_ledger(store / LEDGER).shards}
    except InputError:
        hashes = set()
    known = [name for name in hashes if INPUT_HASH.fullmatch(name)]
    work = build.work.with_name(known[0]) if len(known) == 1 else build.work
    return replace(build, provenance=provenance, work=work)


def check_same(store: Path, passport: Passport, build: Build, *, numerics: bool = True) -> None:
    """Raises InputError unless a store like that of the passport would be made today; without
    `numerics` its low bits may be others."""
    links = [(what, found(passport), found(build.provenance)) for what, found in LINKS.items()]
    for what, have, now in links if numerics else links[:-1]:
        if have != now:
            raise InputError(
                f"{store}: made with {what} {have[:300]}, today's would be {now[:300]}; repair it "
                "where it was made, or build it anew"
            )


def _rebuild(
    store: Path, bad: Collection[str], build: Build, before: Passport | None, workers: Workers
) -> int:
    """Delivers the store of before; returns how many shards were taken over.

    If its ledger was damaged nobody could say what else was: then, if what is taken over does
    not give the root, everything is made again.
    """
    wanted = before.merkle_root if before else None
    with locked(build):
        for bad_files in (None if "" in bad else bad, None):
            kept = len(build.tasks)
            if not build.finished:  # else the scratch folder has all of it, undamaged
                kept = take_over(build, store, bad_files)
            root = finish(build, workers).merkle_root
            if wanted in (None, root):
                relink(build)
                return kept
            shutil.rmtree(build.work)
    raise InputError(
        f"{store}: built again it has root {root[:12]}, before it had {str(wanted)[:12]}: "
        "this machine or code makes other bytes; it was left as it is"
    )


def take_over(build: Build, store: Path, bad: Collection[str] | None) -> int:
    """Fills the scratch folder with the shards whose files are all sound; returns their number.
    `bad`: files that are not; None: no file is to be trusted."""
    shutil.rmtree(build.work, ignore_errors=True)
    build.store.mkdir(parents=True)
    if bad is None:
        return 0
    arrays = [_readable(build, store, bad, column) for column in build.columns]
    lines = []
    for task in Bar(build.tasks, desc="take over", unit="shard", leave=False):
        line = _taken(build, store, bad, task, arrays)
        if line is not None:
            lines.append(line)
    write_ledger(build.ledger, lines)
    record_code(build)  # sound shards are any code's: the root will tell
    return len(lines)


def _readable(build: Build, store: Path, bad: Collection[str], column: Column) -> Any:
    """A column of the damaged store behind fresh metadata, with the shards that are sound."""
    write_metadata(build.store, column, build.num_rows, build.task_rows, images=False)
    for shard in range(-(-len(build.tasks) // COLUMN_SHARD_TASKS)):
        _link(store, build.store, shard_path(column.name, shard, 1 + len(column.shape)), bad)
    return zarr.open_array(build.store / column.name, mode="r", zarr_format=3)


def _taken(
    build: Build, store: Path, bad: Collection[str], task: Task, arrays: Sequence[Any]
) -> LedgerLine | None:
    """The ledger line of a task with all of its rows in sound files."""
    group = task.shard // COLUMN_SHARD_TASKS
    needed = [shard_path(c.name, group, 1 + len(c.shape)) for c in build.columns]
    hashes = {}
    if build.images is not None:
        path = shard_path(IMAGES, task.shard, 1 + len(build.images.shape))
        if not _link(store, build.store, path, bad):
            return None
        hashes[f"store/{path}"] = sha256_file(build.store / path)
    if any(not (build.store / path).exists() for path in needed):
        return None
    columns = _rows(build.columns, arrays, task)
    if columns is None:
        return None
    return write_line(build.work, task, columns, build.count, hashes)


def _rows(
    columns: Sequence[Column], arrays: Sequence[Any], task: Task
) -> dict[str, np.ndarray] | None:
    try:
        return {
            column.name: np.asarray(array[task.start : task.stop])
            for column, array in zip(columns, arrays, strict=True)
        }
    except (ValueError, RuntimeError, TypeError):  # where no ledger could say that it is damaged
        return None


def _link(store: Path, target: Path, name: str, bad: Collection[str]) -> bool:
    if name in bad or not (store / name).is_file():
        return False
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    link_or_copy(store / name, target / name)
    return True


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("stores", nargs="+", type=layout.stores, metavar="STORE")
    add_options(parser)
    args = parser.parse_args()
    for store in chain.from_iterable(args.stores):
        print(repair(store, load_params(), workers_of(args)))


if __name__ == "__main__":
    run_command(main)
