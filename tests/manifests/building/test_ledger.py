from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.building.ledger import LedgerLine, append_line, read_ledger, write_ledger
from manifests.core.errors import InputError


def line(shard: int) -> LedgerLine:
    return LedgerLine(shard, "ab" * 8, {f"images/c/{shard}": "cd" * 32}, 10, 9, {"no_face": 1})


LINES = [line(shard) for shard in range(3)]


def test_appended_lines_come_back(tmp_path: Path) -> None:
    for each in LINES:
        append_line(tmp_path / "ledger.jsonl", each)
    assert read_ledger(tmp_path / "ledger.jsonl").shards == LINES


def test_a_sealed_ledger_is_in_shard_order(tmp_path: Path) -> None:
    write_ledger(tmp_path / "ledger.jsonl", reversed(LINES))
    assert read_ledger(tmp_path / "ledger.jsonl").shards == LINES


def test_no_ledger_means_no_lines(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / "ledger.jsonl").shards == []


@given(st.integers(0, 600))
def test_a_ledger_cut_anywhere_gives_its_first_lines(cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        write_ledger(path, LINES)
        whole = path.read_bytes()
        path.write_bytes(whole[:cut])
        assert read_ledger(path, torn_tail=True).shards == LINES[: whole[:cut].count(b"\n")]


def test_a_sealed_ledger_must_be_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    write_ledger(path, LINES)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"ledger\.jsonl: its last line is cut short"):
        read_ledger(path)


@pytest.mark.parametrize("text", ["{", "[1]", '{"shard": 1}'])
def test_a_stranger_among_the_lines_is_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text(f"{text}\n")
    with pytest.raises(InputError, match=r"ledger\.jsonl: not a ledger line") as caught:
        read_ledger(path, torn_tail=True)
    assert str(caught.value).endswith(text)
