"""Long work that shows no bar is told of: whole lines, ever fewer, by one speaker at a time."""

from __future__ import annotations

import io
import subprocess
import sys
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


def test_the_first_of_several_processes_speaks_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    with pulse.pulse("trains"):
        heard(capsys)
        monkeypatch.setenv("RANK", "1")
        time.sleep(2 * STEP)
        capsys.readouterr()
        time.sleep(10 * STEP)
    assert capsys.readouterr().err == ""


def test_nothing_of_it_goes_where_results_go(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", None)  # as python has it where the shell closed it
    with pulse.pulse("weighs"):
        time.sleep(10 * STEP)
    assert capsys.readouterr().out == ""


DEAF = """
import os, signal, time
from manifests.core.pulse import pulse
with pulse("works"):
    time.sleep(0.1)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)
    print("not disturbed", flush=True)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
"""


def test_ctrl_c_waits_while_the_command_will_not_hear_it() -> None:
    done = subprocess.run([sys.executable, "-c", DEAF], capture_output=True, text=True, check=False)
    assert done.stdout == "not disturbed\n"
    assert done.stderr.endswith("KeyboardInterrupt\n")


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
        for torn in (b"torn\n", b"\xff\n"):
            (tmp_path / "mine@one.jsonl").write_bytes(torn)
            with timed("mine@one"):  # what cannot be read is no reason to stop
                assert heard(capsys)[0] == "mine one: 00:00 gone"
