"""Integrity of stores, from the bytes on disk: every hash, and the chain as far as it is there.

python -m manifests.verify STORE …      exit 1 if any store is not what its passport says
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from manifests.digests import folder_hashes, merkle_root
from manifests.errors import Parser, run_command
from manifests.ledger import read_ledger
from manifests.passport import NAME as PASSPORT
from manifests.passport import Passport
from manifests.stores import LEDGER


def find_faults(store: Path) -> Iterator[str]:
    """What is wrong with a store, a line each; nothing for a sound one.

    Raises InputError if it has no readable passport.
    """
    passport = Passport.read(store)
    hashes = folder_hashes(store, leave_out=[PASSPORT])
    for line in read_ledger(store / LEDGER):
        for name, wanted in line.output_sha256.items():
            found = hashes.get(name)
            if found is None:
                yield f"shard {line.shard}: {name} is missing (it would read as zeros)"
            elif found != wanted:
                yield f"shard {line.shard}: {name} has sha256 {found[:12]}, not {wanted[:12]}"
    root, wanted = merkle_root(hashes), passport.merkle_root
    if root != wanted:
        yield f"its {len(hashes)} files have root {root[:12]}, its passport says {wanted[:12]}"
    yield from _broken_link(store, passport)


def _broken_link(store: Path, passport: Passport) -> Iterator[str]:
    """A teacher store beside its faces (data/ROUND/teachers/NAME.zarr) must name their root."""
    faces = store.parent.parent / "faces.zarr"
    if passport.faces_root is None or not (faces / PASSPORT).exists():
        return
    found = Passport.read(faces).merkle_root
    if found != passport.faces_root:
        yield f"made from faces {passport.faces_root[:12]}, beside it lie faces {found[:12]}"


def describe(store: Path) -> str:
    """One line on a sound store: what it is, and which part of its chain is not here."""
    passport = Passport.read(store)
    text = f"{store}: sound {passport.kind} of {passport.num_rows} rows, {passport.num_ok} usable"
    faces = store.parent.parent / "faces.zarr"
    absent = passport.faces_root is not None and not faces.exists()
    return text + (f"; its faces ({passport.faces_root}) are not here" if absent else "")


def main() -> int:
    parser = Parser(description="Check the bytes of stores against their passports.")
    parser.add_argument("stores", nargs="+", type=Path, metavar="STORE")
    faulty = 0
    for store in tqdm(parser.parse_args().stores, unit="store", desc="verify"):
        faults = list(find_faults(store))
        faulty += bool(faults)
        for text in [f"{store}: {fault}" for fault in faults] or [describe(store)]:
            tqdm.write(text)
    if faulty:
        print(
            f"error: {faulty} damaged store(s); `dvc checkout --force` them, or build them again",
            file=sys.stderr,
        )
    return 1 if faulty else 0


if __name__ == "__main__":
    run_command(main)
