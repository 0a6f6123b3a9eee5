"""Check the bytes of stores against their passports, and the chain of digests.

    facestill check STORE … [--json FILE]      exit 1 if any is not what its passport says

Every hash, every count and every chunk is read; nothing is believed that can be computed.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from shlex import join

import numpy as np

from manifests.building.ledger import NAME as LEDGER
from manifests.building.ledger import read_ledger
from manifests.core import layout
from manifests.core.digests import merkle_root, sha256_file
from manifests.core.errors import InputError, Parser, plain, run_command
from manifests.core.files import require_file_place, require_new, write_json
from manifests.core.progress import Bar
from manifests.stores.latents import LatentManifest
from manifests.stores.metadata import (
    array_form,
    array_names,
    check_folder,
    expected_shards,
    faulty_chunks,
    files_of,
    row_bytes,
)
from manifests.stores.passport import NAME as PASSPORT
from manifests.stores.passport import Passport
from manifests.stores.reading import OK, FaceStore, TeacherStore

BLOCK_ROWS = 1 << 14  # embeddings in memory at a time
SHOWN = 5  # stores that a message names
OF_A_STORE = (PASSPORT, LEDGER, "zarr.json")


@dataclass(frozen=True)
class Fault:
    """What is wrong, and with which file of the store; "" if with the store as a whole."""

    file: str
    text: str
    remedy: str = ""  # what makes it right, where nothing is damaged


def find_faults(store: Path) -> list[Fault]:
    """What is wrong with a store; nothing for a sound one.

    First every file against ledger and passport; then, the bytes being those that were sealed,
    whether they are what a store may hold. Raises InputError if there is no such folder.
    """
    _require_store(store)
    try:
        passport = Passport.read(store)
    except InputError as error:
        return [_whole(store, PASSPORT, error), *_file_faults(store, "")]
    return [*_file_faults(store, passport.merkle_root)] or [*_content_faults(store, passport)]


def _require_store(store: Path) -> None:
    """Raises InputError for what is no store, however damaged: it says how that is looked at."""
    if store.is_file():
        raise InputError(
            f"{store}: a file, and a store is a folder; one of `facestill pack` is checked while "
            f"it becomes a round: `facestill unpack {store} TEAM/ROUND`"
        )
    if not store.is_dir():
        here = layout.rounds_with_faces()[:SHOWN]
        instead = f", or name a round that is here: {', '.join(here)}" if here else ", or bring it"
        raise InputError(f"{store}: no such store; run {layout.maker_of(store)}{instead}")
    inside = sorted(path for path in store.rglob("*.zarr") if path.is_dir())
    if inside:
        names = ", ".join(map(str, inside[:SHOWN])) + (", …" if len(inside) > SHOWN else "")
        raise InputError(f"{store}: a folder of stores, expected a store; name {names}")
    is_one = store.suffix == ".zarr" or any((store / own).exists() for own in OF_A_STORE)
    if not is_one and (store / layout.SUMS).is_file():
        raise InputError(
            f"{store}: no store, but what `facestill pack` made for others; in it "
            f"`sha256sum -c {layout.SUMS}` checks every file"
        )
    if not is_one:
        raise InputError(
            f"{store}: no store; name a round that is here, or the folder of a store (*.zarr)"
        )


def _whole(store: Path, file: str, error: InputError) -> Fault:
    """What reading the store complains of; that it is this store is said beside every fault."""
    return Fault(file, str(error).removeprefix(f"{store}: "))


def _file_faults(store: Path, root: str) -> Iterator[Fault]:
    """`root`: of all files but the passport; empty if that is lost."""
    try:
        names = sorted(set(files_of(store)) - {PASSPORT})
        ledger = read_ledger(store / LEDGER)
    except InputError as error:
        yield _whole(store, LEDGER, error)
        return
    found = {name: sha256_file(store / name) for name in Bar(names, leave=False, unit="file")}
    faults = list(_unlike(ledger.sha256, found))
    if ledger.files:  # of version 2 on it names every file
        strays = set(found) - set(ledger.sha256) - {LEDGER}
        faults += [Fault(name, f"{name} is no part of the store") for name in sorted(strays)]
    have = merkle_root(found)
    if root not in ("", have) and not faults:
        faults = [Fault(LEDGER, f"it has root {have[:12]}, its passport says {root[:12]}")]
    yield from faults


def _unlike(wanted: Mapping[str, str], found: Mapping[str, str]) -> Iterator[Fault]:
    for name, digest in wanted.items():
        if name not in found:
            yield Fault(name, f"{name} is missing (it would read as zeros)")
        elif found[name] != digest:
            yield Fault(name, f"{name} has sha256 {found[name][:12]}, not {digest[:12]}")


def _content_faults(store: Path, passport: Passport) -> Iterator[Fault]:
    try:
        check_folder(store, passport)
        yield from _count_faults(store, passport)
        yield from _holes(store, passport)
        yield from _value_faults(store, passport)
        yield from _broken_links(store, passport)
    except InputError as error:
        yield _whole(store, "", error)


def _count_faults(store: Path, passport: Passport) -> Iterator[Fault]:
    """The ledger's counts, added up, are the passport's."""
    lines = read_ledger(store / LEDGER).shards
    failures: Counter[str] = Counter()
    for line in lines:
        failures.update(line.failures)
    found = (sum(line.num_rows for line in lines), sum(line.num_ok for line in lines))
    if found != (passport.num_rows, passport.num_ok) or failures != Counter(passport.failures):
        yield Fault(
            LEDGER,
            f"its ledger counts {found[0]} rows, {found[1]} usable, failures {dict(failures)}; its "
            f"passport {passport.num_rows}, {passport.num_ok}, {dict(passport.failures)}",
        )


def _holes(store: Path, passport: Passport) -> Iterator[Fault]:
    """Chunks that were never written, which would read as the fill value, and such as inflate
    to more than is declared."""
    for name in array_names(store):
        shape, shard_rows, chunk_rows = array_form(store, name)
        chunk_bytes = chunk_rows * row_bytes(store, name)
        for at, file in enumerate(expected_shards(store, name, passport.num_rows)):
            rows = min(shard_rows, shape[0] - at * shard_rows)
            used = -(-rows // chunk_rows)
            text = faulty_chunks(store / file, shard_rows // chunk_rows, used, chunk_bytes)
            if text:
                yield Fault(file, f"{file} {text}")


def _value_faults(store: Path, passport: Passport) -> Iterator[Fault]:
    """As many usable rows as the passport says, and each with what a usable row has."""
    if passport.kind == "faces":
        faces = FaceStore.open(store)
        ok, reason = faces.ok(), faces.column("reason")
        if int(ok.sum()) != passport.num_ok or not np.array_equal(reason == OK, ok):
            yield Fault("", f"{int(ok.sum())} rows are ok, its passport says {passport.num_ok}")
    else:
        usable = _finite_rows(TeacherStore.open(store))
        if int(usable.sum()) != passport.num_ok:
            yield Fault("", f"{int(usable.sum())} rows are finite, not {passport.num_ok}")
        faces_path = store.parent.parent / layout.FACES
        if passport.faces_root == _root_at(faces_path):
            unlike = np.flatnonzero(FaceStore.open(faces_path).ok() != usable)
            if len(unlike):
                yield Fault("", f"row {unlike[0]}: usable in one of faces and embeddings alone")


def _finite_rows(teacher: TeacherStore) -> np.ndarray:
    """Rows whose embeddings and norms are finite, and which are not zero."""
    norms = teacher.norms()
    finite = np.isfinite(norms).all(axis=1) & (norms > 0).all(axis=1)
    for at in range(0, len(teacher), BLOCK_ROWS):
        rows = teacher.embeddings(at, at + BLOCK_ROWS)
        finite[at : at + BLOCK_ROWS] &= np.isfinite(rows).all(axis=(1, 2))
    return finite


def _root_at(store: Path) -> str | None:
    return Passport.read(store).merkle_root if (store / PASSPORT).exists() else None


def _broken_links(store: Path, passport: Passport) -> Iterator[Fault]:
    """The manifest and the faces that lie where this checkout keeps them are its own."""
    name = layout.round_of(store) or "ROUND"
    again = f"embed {name} --teacher {store.stem}" if passport.faces_root else f"render {name}"
    remedy = f"facestill {again}"
    found = _root_at(store.parent.parent / layout.FACES)
    if passport.faces_root is not None and found not in (None, passport.faces_root):
        text = f"made from faces {passport.faces_root[:12]}, not {str(found)[:12]} beside"
        yield Fault("", text, remedy)
    manifest = _manifest_of(store)
    if manifest is not None:
        digest = LatentManifest.read(manifest).digest
        if digest != passport.manifest_digest:
            wanted = passport.manifest_digest[:12]
            yield Fault("", f"made from manifest {wanted}, {manifest} is {digest[:12]}", remedy)


def _manifest_of(store: Path) -> Path | None:
    name = layout.round_of(store)
    if not name or not layout.manifest(name).exists():
        return None
    return layout.manifest(name)


def describe(store: Path) -> str:
    """One line on a sound store: what it is, its root, for whoever has been told which one it
    must be, and which part of its chain is not here."""
    passport = Passport.read(store)
    text = f"{store}: sound {passport.kind} of {passport.num_rows} rows, {passport.num_ok} usable"
    text += f", root {passport.merkle_root}"
    absent = [] if _manifest_of(store) else [f"its manifest ({passport.manifest_digest[:12]})"]
    faces = store.parent.parent / layout.FACES
    if passport.faces_root is not None and not faces.exists():
        absent.append(f"its faces ({passport.faces_root[:12]})")
    return text + (f"; not here: {', '.join(absent)}" if absent else "")


def told(store: Path) -> list[Fault]:
    """Its faults, each said on a line; that it is sound, where there are none."""
    faults = find_faults(store)
    for text in [f"{store}: {fault.text}" for fault in faults] or [describe(store)]:
        Bar.write(plain(text))  # a file that is no part of the store has a stranger's name
    return faults


def verdict(found: Mapping[Path, list[Fault]]) -> int:
    """The last line, and the exit status."""
    remedies = {store: {fault.remedy for fault in faults} for store, faults in found.items()}
    damaged = [str(store) for store, own in remedies.items() if "" in own]
    apart = dict.fromkeys(text for own in remedies.values() for text in sorted(own - {""}))
    if damaged:
        _complain(
            f"{len(damaged)} of {len(found)} damaged; next: facestill repair {join(damaged)} "
            "(docs/SHARING.md says how to bring a store again)"
        )
    elif apart:  # brought together, and does not belong together
        _complain(
            "no byte is damaged, but what lies here is not of one make; next: " + "; ".join(apart)
        )
    else:
        print(f"{len(found)} of {len(found)} sound")
    return 1 if damaged or apart else 0


def main() -> int:
    parser = Parser(__doc__)
    parser.add_argument("stores", nargs="+", type=layout.stores, metavar="STORE")
    parser.add_json()
    args = parser.parse_args()
    if args.json:
        require_file_place(args.json)
        require_new(args.json, force=args.force)
    stores = list(chain.from_iterable(args.stores))
    found = {store: told(store) for store in Bar(stores, unit="store", desc="check", leave=False)}
    if args.json:
        values = {str(store): [asdict(own) for own in faults] for store, faults in found.items()}
        write_json(args.json, values)
    return verdict(found)


def _complain(text: str) -> None:
    print(f"error: {text}", file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
