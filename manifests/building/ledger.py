"""Ledger: a line a shard, the only thing that resuming trusts; sealed, a line for every file.

A sealed ledger has the lines of its shards, then one for each other file but the passport, so
that whatever goes wrong with a store can be named. (Ledgers of version 1 lack the latter.)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from manifests.core.digests import canonical_json
from manifests.core.errors import InputError
from manifests.core.files import naming, write_text

NAME = "ledger.jsonl"
LONGEST_LINE, LARGEST = 1 << 16, 1 << 28  # bytes: a stranger's must not fill the memory


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
    with naming(path), path.open("a", encoding="utf-8") as file:
        file.write(canonical_json(asdict(line)) + "\n")
        file.flush()
        os.fsync(file.fileno())


def write_ledger(
    path: Path, lines: Iterable[LedgerLine], files: Mapping[str, str] | None = None
) -> None:
    """Shards in their order, then {relative path: sha256} of the other files in theirs."""
    ordered = [asdict(line) for line in sorted(lines, key=lambda line: line.shard)]
    others = [{"file": name, "sha256": digest} for name, digest in sorted((files or {}).items())]
    write_text(path, "".join(canonical_json(each) + "\n" for each in [*ordered, *others]))


@dataclass(frozen=True)
class Ledger:
    """The parsed lines of a ledger file."""

    shards: Sequence[LedgerLine]
    files: Mapping[str, str]  # {relative path: sha256} beside the shards' own

    @property
    def sha256(self) -> dict[str, str]:
        """{relative path: sha256} of every file that it names."""
        named: dict[str, str] = {}
        for line in self.shards:
            named |= line.output_sha256
        return named | dict(self.files)


def read_ledger(path: Path, *, torn_tail: bool = False) -> Ledger:
    """The lines of a ledger. `torn_tail`: a last line cut short by a crash is passed over.

    Raises InputError naming the line that is none.
    """
    shards: list[LedgerLine] = []
    files: dict[str, str] = {}
    for text in _whole_lines(path, torn_tail):
        line = _parse(path, text)
        if isinstance(line, LedgerLine):
            shards.append(line)
        else:
            files[line["file"]] = line["sha256"]
    return Ledger(shards, files)


def _whole_lines(path: Path, torn_tail: bool) -> Iterator[bytes]:
    if not path.is_file():
        return
    if path.stat().st_size > LARGEST:
        raise InputError(f"{path}: larger than {LARGEST} bytes; build the store again")
    with path.open("rb") as file:
        while raw := file.readline(LONGEST_LINE):
            if raw.endswith(b"\n"):
                yield raw
            elif not torn_tail:
                raise InputError(f"{path}: its last line is cut short; build the store again")


def _parse(path: Path, raw: bytes) -> LedgerLine | dict[str, str]:
    try:
        values = json.loads(raw)
        if set(values) == {"file", "sha256"}:
            _check_files({values["file"]: values["sha256"]})
            return values
        line = LedgerLine(**values)
        _check_files(line.output_sha256)
        counts = (line.shard, line.num_rows, line.num_ok, *line.failures.values())
        if type(line.input_hash) is not str or not all(type(n) is int and n >= 0 for n in counts):
            raise ValueError("a count is no whole number")
        return line
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        text = raw[:80].decode(errors="replace").rstrip("\n")
        raise InputError(f"{path}: not a ledger line ({error}): {text}") from None


def _check_files(sha256: Mapping[str, str]) -> None:
    """Names of files in the store: none leads out of it, or disturbs the screen it is shown on."""
    for name, digest in sha256.items():
        inside = not name.startswith("/") and ".." not in name.split("/")
        if not (inside and name.isprintable() and type(digest) is str):
            raise ValueError(f"{name!r} is no file of a store")
