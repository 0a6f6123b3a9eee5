"""Ledger: one line a shard, the only thing that resuming trusts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from manifests.digests import canonical_json
from manifests.errors import InputError
from manifests.files import write_text


@dataclass(frozen=True)
class LedgerLine:
    """What a shard was made from and what came out; a function of the inputs alone."""

    shard: int
    input_hash: str
    output_sha256: Mapping[str, str]  # {relative path: sha256}
    num_rows: int
    num_ok: int
    failures: Mapping[str, int]  # by reason


def append_line(path: Path, line: LedgerLine) -> None:
    """Adds a line durably; call it after the shard's own files are on disk."""
    with path.open("a", encoding="utf-8") as file:
        file.write(canonical_json(asdict(line)) + "\n")
        file.flush()
        os.fsync(file.fileno())


def write_ledger(path: Path, lines: Iterable[LedgerLine]) -> None:
    """The sealed ledger, in shard order."""
    ordered = sorted(lines, key=lambda line: line.shard)
    write_text(path, "".join(canonical_json(asdict(line)) + "\n" for line in ordered))


def read_ledger(path: Path, *, torn_tail: bool = False) -> list[LedgerLine]:
    """The lines of a ledger. `torn_tail`: a last line cut short by a crash is passed over."""
    if not path.exists():
        return []
    raw = path.read_text(encoding="utf-8")
    complete, _, tail = raw.rpartition("\n")
    if tail and not torn_tail:
        raise InputError(f"{path}: its last line is cut short; build the store again")
    return [_parse(path, text) for text in complete.splitlines()]


def _parse(path: Path, text: str) -> LedgerLine:
    try:
        return LedgerLine(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: not a ledger line ({error}): {text[:80]}") from None
