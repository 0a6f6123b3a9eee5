"""One writer at a time: the second is told who the first is, a dead one is no hindrance."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from manifests.core.errors import InputError
from manifests.core.locks import only_writer
from tests.conftest import ROOT

HOLD = """
import sys, time
from pathlib import Path
from manifests.core.locks import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "render-pool"


def other_writer(folder: Path) -> subprocess.Popen[str]:
    """Another process, which holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_second_writer_is_told_of_the_first(folder: Path) -> None:
    first = other_writer(folder)
    try:
        who = rf"process {first.pid} on {socket.gethostname()} since 20\d\d-"
        with pytest.raises(InputError, match=rf"render-pool: being written by {who}.*stop it"):
            with only_writer(folder):
                pytest.fail("two writers")
        assert (
            json.loads(folder.with_name("render-pool.holder.json").read_text())["pid"] == first.pid
        )
    finally:
        end(first)


def test_a_killed_writer_is_spoken_of_and_leaves_no_lock(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = other_writer(folder)
    end(first)
    for said in (f"process {first.pid} on {socket.gethostname()} since ", ""):
        with only_writer(folder):
            pass
        out = capsys.readouterr().out
        assert (said in out and "ended before it was done" in out) if said else not out


def test_the_same_process_is_no_exception(folder: Path) -> None:
    with only_writer(folder), pytest.raises(InputError, match=f"process {os.getpid()} on "):
        with only_writer(folder):
            pytest.fail("two writers")


def test_writers_of_two_stages_do_not_meet(folder: Path) -> None:
    with only_writer(folder), only_writer(folder.with_name("embed-pool")):
        pass


def test_an_error_leaves_word_for_the_next_writer(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="half done"), only_writer(folder):
        raise ValueError("half done")
    with only_writer(folder):
        assert f"process {os.getpid()} on " in capsys.readouterr().out
    assert sorted(path.name for path in folder.parent.iterdir()) == ["render-pool.lock"]


@pytest.mark.parametrize("note", ["", "{", "[]", "{}", '{"pid": 1}', "\0"])
def test_a_note_cut_short_is_another_process(
    folder: Path, note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.with_name("render-pool.holder.json").write_text(note)
    with only_writer(folder):
        assert "another process ended before it was done" in capsys.readouterr().out


def test_half_a_note_of_a_killed_process_does_not_stay(folder: Path) -> None:
    folder.with_name(".render-pool.holder.json.77-ab.tmp").write_text("{")
    with only_writer(folder):
        pass
    assert sorted(path.name for path in folder.parent.iterdir()) == ["render-pool.lock"]
