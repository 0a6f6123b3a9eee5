"""Compare two stores of one kind, or two manifests of latents.

    facestill diff A B [--json FILE]      exit 0 the same, 1 they differ, 2 they cannot be compared

Stores are taken at their passports' word, arrays are read block by block; whether the bytes are
those that were sealed is for `facestill check` to say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from manifests.core import layout
from manifests.core.errors import InputError, Parser, pick, run_command
from manifests.core.files import require_file_place, require_new, write_json
from manifests.core.progress import Bar
from manifests.stores.differences import Difference, compare_rows, describe, unequal
from manifests.stores.latents import LatentManifest
from manifests.stores.metadata import array_form, array_names, row_bytes
from manifests.stores.passport import Passport
from manifests.stores.reading import FaceStore, TeacherStore, read_rows

Store = FaceStore | TeacherStore
KINDS: Mapping[str, type[FaceStore] | type[TeacherStore]] = {
    "faces": FaceStore,
    "teacher": TeacherStore,
}
BLOCK_BYTES = 1 << 23  # of one array that are in memory at a time, from each store
CONSEQUENCES = {"metadata", "num_files"}  # of what else is said of a store
MEANING = {
    "fingerprint.identity": "may not be mixed",
    "fingerprint.numerics": "low bits may differ",
    "manifest_digest": "row i need not be the same face",
    "faces_root": "made from another face store",
}
LONGEST = 60  # characters of a value


def compare_stores(a: Store, b: Store) -> list[str]:
    """A line for each difference; none if they are the same. Equal Merkle roots spare the
    arrays, which are then the same."""
    lines = different_values(_described(a), _described(b))
    if a.root == b.root:
        return lines
    if len(a) != len(b):
        if a.passport.manifest_digest != b.passport.manifest_digest:
            why = "unlike manifests and numbers of rows do not say which faces correspond"
            return [*lines, f"arrays are not compared: {why}"]
        lines.append(f"arrays are compared in the first {min(len(a), len(b)):,} rows")
    return lines + _array_lines(a, b)


def _described(store: Store) -> dict[str, Any]:
    """What a store says of itself beside its rows."""
    said = {k: v for k, v in asdict(store.passport).items() if k not in CONSEQUENCES}
    column = "ok" if isinstance(store, FaceStore) else "embeddings"
    task_rows = array_form(store.path, column)[2]
    return {**said, "rows of a task": task_rows, "attributes": dict(store.group.attrs)}


def different_values(a: Mapping[str, Any], b: Mapping[str, Any], inside: str = "") -> list[str]:
    """A line for each value of two nested mappings that differs, by its dotted path."""
    lines: list[str] = []
    for name in [*a, *(name for name in b if name not in a)]:
        place = f"{inside}.{name}" if inside else name
        x, y = a.get(name, {}), b.get(name, {})  # beside a mapping, nothing is an empty one
        if isinstance(x, Mapping) and isinstance(y, Mapping) and (x or y):
            lines += different_values(x, y, place)
        elif name not in a or name not in b or x != y:
            sides = (_shown(side, name) for side in (a, b))
            lines.append(f"{place}: {_numbers_apart(x, y) or ' | '.join(sides)}{_meaning(place)}")
    return lines


def _meaning(place: str) -> str:
    return next((f" ({text})" for start, text in MEANING.items() if place.startswith(start)), "")


def _shown(side: Mapping[str, Any], name: str) -> str:
    if name not in side:
        return "absent"
    value = side[name]
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return text[:12]
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _numbers_apart(x: Any, y: Any) -> str:
    """How far two lists of as many numbers are from each other; "" if they are no such."""
    if not (isinstance(x, list) and isinstance(y, list) and len(x) == len(y) and x):
        return ""
    if not all(type(number) in (int, float) for number in [*x, *y]):
        return ""
    return f"{len(x)} numbers, at most {np.abs(np.subtract(x, y)).max():.3g} apart"


def _array_lines(a: Store, b: Store) -> list[str]:
    """A line for each array that differs, and one for all that do not."""
    lines, same = [], []
    ours, theirs = set(array_names(a.path)), set(array_names(b.path))
    lines += [f"{name}: only in {'A' if name in ours else 'B'}" for name in sorted(ours ^ theirs)]
    for name in sorted(ours & theirs):
        forms = [f"{x.dtype}{list(x.shape[1:])}" for x in (_array(a, name), _array(b, name))]
        if forms[0] != forms[1]:
            lines.append(f"{name}: rows are {forms[0]} | {forms[1]}; not compared")
        elif (found := _compare_array(a, b, name)).num_differing:
            lines.append(describe(name, found))
        else:
            same.append(name)
    return lines + ([f"every value is the same: {', '.join(same)}"] if same else [])


def _compare_array(a: Store, b: Store, name: str) -> Difference:
    """Over the rows that both stores have, a few chunks in memory at a time."""
    num_rows = min(len(a), len(b))
    step = _block_rows(a, name)
    total = Difference()
    with Bar(total=num_rows, unit="row", desc=name, leave=False) as bar:
        for start in range(0, num_rows, step):
            rows = slice(start, min(start + step, num_rows))
            x, y = (read_rows(store.path, store.group, name, rows) for store in (a, b))
            total += compare_rows(name, x, y, start=start)
            bar.update(len(x))
    return total


def _block_rows(store: Store, name: str) -> int:
    """Rows of whole chunks, so that none is decoded twice."""
    chunk_rows = array_form(store.path, name)[2]
    return chunk_rows * max(1, BLOCK_BYTES // (chunk_rows * row_bytes(store.path, name)))


def _array(store: Store, name: str) -> Any:
    return store.group[name]


def compare_manifests(a: LatentManifest, b: LatentManifest) -> list[str]:
    """A line for each difference; none if they are the same. Faces are known by their ids."""
    if a.digest == b.digest:
        return []
    lines = different_values({"digest": a.digest}, {"digest": b.digest})
    lines += different_values({"recipe": asdict(a.recipe)}, {"recipe": asdict(b.recipe)})
    _, at_a, at_b = np.intersect1d(a.face_id, b.face_id, assume_unique=True, return_indices=True)
    for side, manifest, common in (("A", a, at_a), ("B", b, at_b)):
        alone = np.delete(manifest.face_id, common)
        if len(alone):
            lines.append(f"{len(alone):,} faces only in {side}, the first is {alone[0]}")
    lines += _column_lines(a, b, at_a, at_b)
    return lines


def _column_lines(
    a: LatentManifest, b: LatentManifest, at_a: np.ndarray, at_b: np.ndarray
) -> Iterator[str]:
    """A line for each column in which faces that are in both differ."""
    for name in a.table.column_names:
        if name == "latent":
            if a.recipe.latent_width != b.recipe.latent_width:
                continue  # the recipes say so
            x, y = a.latents[at_a], b.latents[at_b]
            rows = np.flatnonzero(unequal(x, y).any(axis=1))
            apart = np.abs(x[rows] - y[rows])
            amount = f", at most {np.nanmax(apart, initial=0.0):.3g} apart"
        else:
            rows = np.flatnonzero(_unlike(a.table[name].take(at_a), b.table[name].take(at_b)))
            amount = ""
        if len(rows):
            first = a.face_id[at_a[rows[0]]]
            of = f"{len(rows):,} of {len(at_a):,} common faces"
            yield f"{name}: {of} differ, the first is {first}{amount}"


def _unlike(a: pa.ChunkedArray, b: pa.ChunkedArray) -> np.ndarray:
    """Which cells differ: empty ones are alike, and so are NaNs."""
    valid_a, valid_b = (np.asarray(column.is_valid()) for column in (a, b))
    unequal = np.asarray(pc.fill_null(pc.not_equal(a, b), False))
    if pa.types.is_floating(a.type):
        unequal &= ~np.asarray(pc.fill_null(pc.and_(pc.is_nan(a), pc.is_nan(b)), False))
    return unequal | (valid_a != valid_b)


def compare(a: Path, b: Path) -> tuple[str, list[str]]:
    """What they are, and a line for each difference between two stores or two manifests.

    Raises InputError if one of them is neither, or if they are no two of a kind.
    """
    if a.suffix == b.suffix == ".parquet":
        lines = compare_manifests(LatentManifest.read(a), LatentManifest.read(b))
        return "manifests", lines
    if ".parquet" in (a.suffix, b.suffix):
        for path in (a, b):
            if not path.exists():
                maker = layout.maker_of(path)
                raise InputError(f"{path}: no such round or store; run {maker}, or bring it")
        raise InputError(f"{a}, {b}: a manifest and a store; give two of a kind")
    kinds = [Passport.read(path).kind for path in (a, b)]
    if kinds[0] != kinds[1]:
        raise InputError(f"{a}: a {kinds[0]} store, {b}: a {kinds[1]} store; give two of a kind")
    kind = pick("kind of store", kinds[0], KINDS)
    return f"{kinds[0]} stores", compare_stores(kind.open(a), kind.open(b))


def main() -> int:
    parser = Parser(__doc__)
    for name in ("A", "B"):
        parser.add_argument(
            name, type=layout.manifest_or_store, help="a round, a manifest (.parquet), or a store"
        )
    parser.add_json()
    args = parser.parse_args()
    if args.json:
        require_file_place(args.json)
        require_new(args.json, force=args.force)
    what, lines = compare(args.A, args.B)
    if args.json:
        write_json(args.json, {"compared": what, "differences": lines})
    print(f"two {what}, {'A | B:' if lines else 'the same'}")
    for line in lines:
        print(f"  {_printable(line)}")
    return 1 if lines else 0


def _printable(text: str) -> str:
    """Stores may be strangers': nothing that a terminal would obey."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


if __name__ == "__main__":
    run_command(main)
