"""Whoever does the work, the same bytes come of it; who dies over it costs only their own task."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import distributed
import pytest

import pipeline.building.workers
import pipeline.render
from manifests.building.writing import Task
from manifests.core import layout
from manifests.core.digests import folder_hashes
from manifests.core.errors import InputError, run_command
from manifests.settings.params import PriorRound, load_params
from pipeline.building.workers import DEATHS, Workers, num_cores
from pipeline.sample import sample_prior, save
from tests.campaign.processes import cluster, start
from tests.conftest import lay_out
from tests.pipeline.conftest import build
from tests.pipeline.jobs import (
    FATAL,
    DiskFull,
    Faulty,
    Job,
    Killed,
    KilledOnce,
    Refused,
    begun,
    new_pages,
)

ROWS, SHARD_ROWS = 200, 64  # four shards
TASKS = [Task(shard, shard, shard + 1) for shard in range(6)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    root = lay_out(tmp_path_factory.mktemp("workers") / "prepared", weights)
    with contextlib.chdir(root):
        save(sample_prior("pool", PriorRound(ROWS, 3), load_params()))
    return root


def build_both(prepared: Path, folder: Path, workers: Workers) -> dict[str, str]:
    """Render and embed by these workers; the hashes of both stores."""
    if not folder.exists():
        shutil.copytree(prepared, folder, symlinks=True)
    with contextlib.chdir(folder):
        params = load_params()
        small = replace(params.render, frame_size=64, shard_rows=SHARD_ROWS)
        for stage in ("render", "embed"):
            build(stage, replace(params, render=small), workers=workers)
    return folder_hashes(folder / layout.DATA / "pool")


@pytest.fixture(scope="module")
def alone(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    hashes = build_both(prepared, tmp_path_factory.mktemp("alone") / "folder", Workers(1))
    assert len([name for name in hashes if name.startswith("faces.zarr/images/c/")]) == 4
    return hashes


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_writes_the_same_bytes(
    prepared: Path, alone: dict[str, str], tmp_path: Path, workers: int
) -> None:
    assert build_both(prepared, tmp_path / "folder", Workers(workers)) == alone


def test_a_cluster_writes_the_same_bytes(
    prepared: Path, alone: dict[str, str], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(prepared, tmp_path / "folder", symlinks=True))
    with cluster(folder) as machines:
        assert build_both(prepared, folder, Workers(scheduler=machines.address)) == alone


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done_once(tmp_path: Path, workers: int) -> None:
    assert sorted(Workers(workers).run(Job(tmp_path), TASKS)) == list(range(6))
    assert begun(tmp_path) == {task.shard: 1 for task in TASKS}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's allocator")
def test_workers_keep_the_memory_that_they_freed() -> None:
    assert max(Workers(2).run(new_pages, TASKS)) < 100  # of 16,384


def test_cores_are_those_allowed_or_where_that_is_unknown_the_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 4, 6}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert num_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert num_cores() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert num_cores() == 1


def test_nothing_to_do_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.building.workers, "_client", None)
    assert list(Workers(2).run(Job(tmp_path), [])) == []


def test_a_worker_that_dies_costs_the_task_it_was_at(tmp_path: Path) -> None:
    assert sorted(Workers(2).run(KilledOnce(tmp_path), TASKS)) == list(range(6))
    assert begun(tmp_path) == {task.shard: 1 + (task.shard == FATAL) for task in TASKS}


def test_a_task_that_always_kills_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"4 workers died over one shard .*take fewer workers"):
        list(Workers(2).run(Killed(tmp_path), TASKS))
    assert begun(tmp_path)[FATAL] == DEATHS + 1


@pytest.mark.parametrize(
    ("job", "line"),
    [
        (Refused, "error: faces.zarr: row 3 is no face\n"),
        (
            DiskFull,
            "error: store/images/c/3: No space left on device; make room and run it again, what "
            "is finished is kept\n",
        ),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_worker_is_refused_is_said_in_one_line(
    tmp_path: Path, job: type[Job], line: str, workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_command(lambda: list(Workers(workers).run(job(tmp_path), TASKS)) and 0)
    assert caught.value.code == 2
    assert capfd.readouterr().err == line  # of all processes


STOPPED = "stopped; what is finished is kept, run it again to go on"
SLOW = """
from pathlib import Path
from manifests.core.errors import run_command
from tests.pipeline.building.test_workers import TASKS, Job, Workers
if __name__ == "__main__":  # worker processes import this file, too
    run_command(lambda: len([*Workers({workers}).run(Job(Path("marks")), TASKS * 99)]))
"""


@pytest.mark.parametrize(("group", "workers"), [(True, 1), (False, 2)])
def test_ctrl_c_ends_a_command_in_one_line(tmp_path: Path, workers: int, group: bool) -> None:
    """A terminal sends it to all processes at once, another program to the command alone."""
    marks = tmp_path / "folder" / "marks"
    marks.mkdir(parents=True)
    (marks.parent / "slow.py").write_text(SLOW.format(workers=workers), encoding="utf-8")
    running = start(marks.parent, "slow")
    while not begun(marks) and running.running():
        time.sleep(0.02)
    (os.killpg if group else os.kill)(running.process.pid, signal.SIGINT)
    ended = running.wait()
    assert (ended.code, ended.err.splitlines()) == (130, [STOPPED])
    assert not running.left_over()


def test_a_bug_in_a_worker_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="a bug"):
        list(Workers(2).run(Faulty(tmp_path), TASKS))


def test_a_cluster_that_goes_away_is_said_in_one_line(tmp_path: Path) -> None:
    folder, marks = tmp_path / "folder", tmp_path / "marks"
    folder.mkdir()
    marks.mkdir()
    with cluster(folder) as machines, contextlib.chdir(folder):
        results = Workers(scheduler=machines.address).run(Job(marks), TASKS)
        next(results)
        machines.scheduler.kill(group=True)
        with pytest.raises(InputError, match="the cluster went away"):
            list(results)


@pytest.mark.parametrize("dies", range(1, DEATHS + 2))
def test_workers_that_die_before_they_are_ready_are_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: int
) -> None:
    started = []

    def start(**how: object) -> distributed.LocalCluster:
        started.append(how)
        if len(started) <= dies:
            raise RuntimeError("Nanny failed to start.")
        return original(**how)

    original = distributed.LocalCluster
    monkeypatch.setattr(distributed, "LocalCluster", start)
    if dies > DEATHS:
        with pytest.raises(InputError, match=r"no worker process starts .*take fewer workers"):
            list(Workers(2).run(Job(tmp_path), TASKS))
    else:
        assert sorted(Workers(2).run(Job(tmp_path), TASKS)) == list(range(6))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], r"--workers 0: expected at least 1"),
        (["--workers", "-1"], r"--workers -1: expected at least 1"),
        (["--workers", "1025"], r"--workers 1025: expected at most 1024 on one machine"),
        (["--workers", "two"], r"invalid int value: 'two'"),
        (["--scheduler", "nonsense"], r"--scheduler nonsense: no cluster answers there"),
        (
            ["--scheduler", f"tcp://127.0.0.1:{free_port()}"],
            r"no cluster answers there .*start one",
        ),
    ],
    ids=["none", "less than none", "too many", "a word", "no address", "nobody there"],
)
def test_workers_that_cannot_be_are_refused_with_no_more_than_their_patience(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    waits = []

    def connect(address: str, *, timeout: str) -> distributed.Client:
        waits.append(timeout)
        return original(address, timeout=timeout)

    original = distributed.Client
    monkeypatch.setattr(distributed, "Client", connect)
    monkeypatch.chdir(prepared)
    monkeypatch.setattr(pipeline.building.workers, "PATIENCE", "1s")
    monkeypatch.setattr(sys, "argv", ["render", "pool", *options])
    with pytest.raises(InputError, match=message):
        pipeline.render.main()
    assert waits == ["1s"] * ("--scheduler" in options)
