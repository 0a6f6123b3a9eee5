"""One writer at a time, by name; a dead one's lock is free and its note is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from manifests.errors import InputError
from manifests.locks import only_writer
from tests.conftest import ROOT

HOLD = """
import sys, time
from pathlib import Path
from manifests.locks import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "render-pool"


def hold(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    return holder


def test_a_second_writer_is_refused_and_told_by_whom(folder: Path) -> None:
    with (
        only_writer(folder),
        pytest.raises(InputError, match=rf"being written by process {os.getpid()} on \S+ since"),
        only_writer(folder),
    ):
        pass


def test_another_process_is_a_writer_too(folder: Path) -> None:
    with hold(folder) as holder:
        with pytest.raises(InputError, match=f"process {holder.pid} on"), only_writer(folder):
            pass
        holder.send_signal(signal.SIGKILL)


def test_the_lock_of_a_killed_writer_is_free(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold(folder) as holder:
        holder.send_signal(signal.SIGKILL)
    with only_writer(folder):
        assert f"process {holder.pid}" in capsys.readouterr().out
    with only_writer(folder):
        assert capsys.readouterr().out == ""


def test_the_next_writer_hears_of_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ZeroDivisionError), only_writer(folder):
        1 / 0  # noqa: B018
    with only_writer(folder):
        assert "ended before it was done; going on from there" in capsys.readouterr().out


def test_writers_of_other_folders_do_not_wait(folder: Path) -> None:
    with only_writer(folder), only_writer(folder.with_name("render-probe")):
        assert not folder.exists()  # it is the lock beside it that is held
