"""A run has as many threads as cores are idle, or as it was begun with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manifests.core import layout
from manifests.core.files import write_json
from train.engine import threads
from train.engine.preflight import INPUTS
from train.engine.processes import ALONE, Processes
from train.engine.threads import begun_with, busy_shares, idle_cores, threads_of

RUN = Path("runs/start")


@pytest.fixture(autouse=True)
def four(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Four threads on four cores, of which others take one and a bit; nothing is said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "busy_shares", lambda: [1.0, 0.1, 0.1, 0.0])
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def inside(processes: Processes = ALONE) -> int:
    with threads_of("start", RUN, processes):
        return torch.get_num_threads()


def test_a_thread_for_each_idle_core(capsys: pytest.CaptureFixture[str]) -> None:
    assert inside() == 3
    assert torch.get_num_threads() == 4  # afterwards as before
    assert "3 of 4 threads" in capsys.readouterr().out


@given(st.lists(st.floats(0, 1), min_size=1, max_size=64))
def test_idle_cores_are_at_least_one_and_at_most_all(busy: list[float]) -> None:
    assert 1 <= idle_cores(busy) <= len(busy)
    assert idle_cores([0.0] * len(busy)) == len(busy)
    assert idle_cores([1.0, *busy]) == idle_cores(busy)  # a taken core adds nothing


def test_what_is_said_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert inside() == 4


def test_processes_together_keep_what_they_were_started_with() -> None:
    assert inside(Processes(0, 2, 0)) == 4


def test_a_run_keeps_the_threads_that_it_began_with() -> None:
    write_json(RUN / "log.json", {"header": {"hardware": {"threads": 2}}})
    assert begun_with("start", RUN) == inside() == 2
    work = layout.WORK / "train-start"
    write_json(work / "b" / "log.json", {"header": {"hardware": {"threads": 3}}})  # kept finished
    assert begun_with("start", RUN) == inside() == 3
    write_json(work / "a" / INPUTS, {"threads": 1})
    assert begun_with("start", RUN) == inside() == 1
    assert begun_with("mined-1", Path("runs/mined-1")) is None


def test_more_threads_than_there_are_were_another_machines() -> None:
    write_json(RUN / "log.json", {"header": {"hardware": {"threads": 64}}})
    assert inside() == 4


def test_cores_are_really_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(threads, "LOOK", 0.05)
    shares = busy_shares()
    assert shares and all(0.0 <= share <= 1.0 for share in shares)
