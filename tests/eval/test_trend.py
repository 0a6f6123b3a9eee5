"""The figures of before, from a repository that the test makes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eval.trend import HERE, METRICS, entry_of, main, read_trend, trend_figure, trend_text
from manifests.core.errors import InputError

AUTHOR = ("-c", "user.name=A", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false")


def git(*arguments: str) -> None:
    subprocess.run(["git", *AUTHOR, *arguments], check=True, capture_output=True)


def figures(accuracy: float, gap: float) -> dict[str, Any]:
    return {
        "accuracy": {"orl": {"student": accuracy, "teacher": 0.99}},
        "probe_gap": {"mined-1": gap, "start": 0.9},
        "student": {"faces_seen": 64000},
    }


def commit(subject: str, text: str) -> None:
    METRICS.parent.mkdir(exist_ok=True)
    METRICS.write_text(text)
    git("add", "-A")
    git("commit", "-q", "-m", subject)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs on record, and one commit of something else in the file."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    commit("First", json.dumps(figures(0.9, 0.4)))
    commit("Odd", "no figures")
    commit("Second", json.dumps(figures(0.95, 0.3)))
    return tmp_path


def test_every_commit_with_figures_is_told_the_oldest_first(repository: Path) -> None:
    entries = read_trend()
    found = [(own.subject, own.student, own.gap, own.photographs) for own in entries]
    assert found == [("First", 0.9, 0.4, None), ("Second", 0.95, 0.3, None)]
    lines = trend_text(entries).splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["Second", "First"]
    assert lines[1].split()[2:7] == ["95.00", "99.00", "-", "0.300", "64,000"]


def test_what_lies_there_counts_where_it_differs(repository: Path) -> None:
    METRICS.write_text(json.dumps(figures(0.97, 0.2)))
    assert read_trend()[-1].subject == HERE
    git("rm", "-q", "-f", METRICS.as_posix())
    git("commit", "-q", "-m", "Remove it")
    assert [own.subject for own in read_trend()] == ["First", "Second"]


def test_figures_are_written_where_they_are_asked_for(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["trend", "--out", "trend.json", "trend.svg"])
    main()
    assert "Second" in capsys.readouterr().out
    assert [own["student"] for own in json.loads(Path("trend.json").read_text())["commits"]] == [
        0.9,
        0.95,
    ]
    assert Path("trend.svg").read_text().startswith("<?xml")
    upper, lower = trend_figure(read_trend()).axes
    assert list(lower.lines[0].get_ydata()) == [0.4, 0.3]
    assert list(upper.lines[0].get_ydata()) == [90.0, 95.0]


def test_without_a_repository_or_a_record_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(InputError, match="run it in a clone of the repository"):
        read_trend()
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "Begin")
    with pytest.raises(InputError, match=r"metrics\.json: in no commit"):
        read_trend()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"accuracy": 3}', '{"accuracy": {"orl": {"student": "high"}}}'],
)
def test_what_holds_no_figures_is_left_out(text: str) -> None:
    assert entry_of("c", "d", "s", text) is None


@pytest.mark.parametrize("subject", ["a\u2028b", "a\rb", "a\x0cb", "a\x1b[2Jb"])
def test_a_subject_is_one_line_whatever_it_says(repository: Path, subject: str) -> None:
    commit(subject, json.dumps(figures(0.97, 0.2)))
    assert read_trend()[-1].subject in ("a b", "a [2Jb")


def test_what_others_committed_is_no_text(repository: Path) -> None:
    METRICS.write_bytes(b"\xff")
    git("add", "-A")
    git("-c", "i18n.commitEncoding=latin1", "commit", "-q", "-m", "Bytes")
    assert [entry.subject for entry in read_trend()] == ["First", "Second"]
    METRICS.write_bytes(b"\xfe")
    assert len(read_trend()) == 2


def test_endless_numbers_are_no_figures() -> None:
    text = '{"accuracy": {}, "student": {"faces_seen": Infinity}}'
    assert entry_of("abc", "2026-11-30", "Endless", text) is None
