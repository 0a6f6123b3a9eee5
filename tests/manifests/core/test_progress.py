"""Bars on a terminal stay tqdm's; logs get whole lines."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from unittest import mock

import pytest

from manifests.core import progress
from manifests.core.errors import Parser
from manifests.core.progress import SILENT, Bar, be_silent


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SILENT, raising=False)


@pytest.fixture
def clock() -> Iterator[list[float]]:
    """Seconds that the bars of a test see."""
    now = [0.0]
    with mock.patch("tqdm.std.time", lambda: now[0]):
        yield now


def walked(clock: list[float], seconds: int, **settings: object) -> str:
    log = io.StringIO()
    with Bar(total=seconds, desc="walk", unit="step", file=log, miniters=1, **settings) as bar:
        bar._time = lambda: clock[0]
        for _ in range(seconds):
            clock[0] += 1
            bar.update(1)
    return log.getvalue()


def test_a_log_gets_lines_ever_fewer_and_the_last(clock: list[float]) -> None:
    lines = walked(clock, 300).splitlines()
    assert "\r" not in "".join(lines) and "\x1b" not in "".join(lines)
    assert 5 <= len(lines) <= 12
    assert lines[0].startswith("walk: ") and " of 300, " in lines[0]
    assert lines[-1].startswith("walk: 300 of 300")


def test_short_work_says_nothing(clock: list[float]) -> None:
    assert walked(clock, 1) == ""


def test_what_does_not_stay_leaves_no_blank(clock: list[float]) -> None:
    assert all(line.startswith("walk: ") for line in walked(clock, 90, leave=False).splitlines())


def test_two_at_a_time_do_not_move_the_cursor_of_a_log() -> None:
    log = io.StringIO()
    with mock.patch.object(progress, "FIRST", 0.0), Bar(range(3), file=log, desc="outer") as outer:
        for _ in outer:
            list(Bar(range(3), file=log, desc="inner", leave=False))
    assert "\x1b" not in log.getvalue() and "\r" not in log.getvalue()


def test_where_standard_error_is_closed_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    assert list(Bar(range(3))) == [0, 1, 2]


def test_a_terminal_has_its_bar() -> None:
    screen = Terminal()
    list(Bar(range(3), file=screen, desc="walk"))
    assert "100%" in screen.getvalue() and "\r" in screen.getvalue()


def test_quiet_is_quiet_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SILENT, "")  # and put back as it was
    Parser("Walks.").parse_args(["--quiet"])
    screen = Terminal()
    assert list(Bar(range(3), file=screen)) == [0, 1, 2]
    assert os.environ[SILENT] and screen.getvalue() == ""


def test_processes_that_are_begun_are_as_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SILENT, "")
    be_silent()
    code = (
        "import time\nfrom manifests.core.progress import Bar\n"
        "for _ in Bar(range(3), mininterval=0): time.sleep(0.01)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b""
