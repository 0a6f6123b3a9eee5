"""Long work that shows no bar is told of: whole lines, ever fewer, by one speaker at a time."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from manifests.core import costs, pulse
from manifests.core.costs import timed
from manifests.core.progress import Bar
from manifests.core.pulse import SILENT, in_words

STEP = 0.02  # seconds until the first line


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(SILENT, raising=False)
    with mock.patch.object(pulse, "FIRST", STEP), mock.patch.object(pulse, "LONGEST", 4 * STEP):
        yield


def heard(capsys: pytest.CaptureFixture[str], lines: int = 1) -> list[str]:
    """What was said, once it is so many lines at least; waits for them."""
    said = ""
    while said.count("\n") < lines:
        time.sleep(STEP)
        said += capsys.readouterr().err
    return said.splitlines()


def test_long_work_is_told_of_in_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with pulse.pulse("weighs"):
        lines = heard(capsys, 3)
    assert set(lines) == {"weighs: 00:00 gone"}
    time.sleep(5 * STEP)
    assert capsys.readouterr().err == ""  # it ends with its work


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with mock.patch.object(pulse, "FIRST", 60.0), pulse.pulse("weighs"):
        pass
    assert capsys.readouterr().err == ""


def test_the_innermost_speaks_alone_and_then_the_outer_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pulse.pulse("outer"):
        with pulse.pulse("inner"):
            assert {line.split(":")[0] for line in heard(capsys, 3)} == {"inner"}
        assert heard(capsys)[-1].startswith("outer")


def test_a_bar_that_is_shown_speaks_instead(capsys: pytest.CaptureFixture[str]) -> None:
    with pulse.pulse("weighs"):
        with Bar(total=2, file=io.StringIO()):
            capsys.readouterr()
            time.sleep(10 * STEP)
            assert capsys.readouterr().err == ""
        heard(capsys)
        with Bar(total=2, file=io.StringIO(), disable=True):
            heard(capsys)


def test_quiet_is_quiet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SILENT, "1")
    with pulse.pulse("weighs"):
        time.sleep(10 * STEP)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("gone", "expected", "said"),
    [
        (4.2, 0.0, "mine: 00:04 gone"),
        (61.0, 3723.4, "mine: 01:01 gone, 1:02:03 in all the last time"),
    ],
)
def test_what_it_took_before_is_said(gone: float, expected: float, said: str) -> None:
    assert in_words("mine", gone, expected) == said


def test_a_stage_knows_its_last_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mock.patch.object(costs, "COSTS", tmp_path):
        for seconds in (7.0, 65.0):
            with mock.patch("time.perf_counter", iter([0.0, seconds]).__next__), timed("mine@one"):
                pass
        with timed("mine@one"):
            assert heard(capsys)[0].endswith("gone, 01:05 in all the last time")
        with timed("mine@two"):
            assert heard(capsys)[0] == "mine two: 00:00 gone"
        (tmp_path / "mine@one.jsonl").write_text("torn\n", encoding="utf-8")
        with timed("mine@one"):  # what cannot be read is no reason to stop
            assert heard(capsys)[0] == "mine one: 00:00 gone"
