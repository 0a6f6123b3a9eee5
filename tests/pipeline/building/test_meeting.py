"""Nobody else's code makes what this process states, and nobody waits for help that cannot come."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

import pipeline.building.meeting
from manifests.building.writing import Task
from manifests.core.errors import InputError
from manifests.core.sources import Loaded, loaded
from manifests.settings.params import PriorRound, load_params
from manifests.stores.passport import Fingerprint
from pipeline.building.meeting import Here, require_made_by
from pipeline.building.workers import Workers
from pipeline.sample import sample_prior, save
from tests.campaign.processes import Ended, cluster, run, start
from tests.conftest import ROOT, lay_out
from tests.pipeline.jobs import Job, begun

TASKS = [Task(shard, shard, shard + 1) for shard in range(3)]


@pytest.fixture
def checkout(tmp_path: Path, weights: Path) -> Path:
    """A folder with code of its own, and a round that can be rendered."""
    folder = lay_out(tmp_path / "checkout", weights)
    for package in ("manifests", "pipeline"):
        copied = shutil.ignore_patterns("__pycache__", "*.parquet")
        shutil.copytree(ROOT / package, folder / package, ignore=copied, dirs_exist_ok=True)
    with contextlib.chdir(folder):
        save(sample_prior("pool", PriorRound(8, 3), load_params()))
    return folder


def render(folder: Path, address: str) -> Ended:
    shutil.rmtree(folder / "data/pool", ignore_errors=True)
    shutil.rmtree(folder / ".work", ignore_errors=True)
    return run(folder, "pipeline.render", "pool", "--scheduler", address)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_a_worker_that_was_started_before_an_edit_is_refused_by_name(checkout: Path) -> None:
    with cluster(checkout, workers=1) as machines:
        assert render(checkout, machines.address).code == 0
        edit(checkout / "pipeline/building/faces.py", "COLUMNS = (", "# A remark.\nCOLUMNS = (")
        assert render(checkout, machines.address).code == 0  # a comment computes nothing
        crops = "crops.permute(0, 2, 3, 1).to(torch.uint8).numpy()\n        faces.landmarks"
        edit(checkout / "pipeline/building/faces.py", crops, crops.replace("()", "() // 2", 1))
        edit(checkout / "pipeline/render.py", "VERSION = 3", "VERSION = 4")
        ended = render(checkout, machines.address)
    assert ended.code == 2
    assert ended.complaint.startswith("error: worker tcp://127.0.0.1:")
    assert "has another pipeline.building.faces (" in ended.complaint
    assert "restart it from this folder" in ended.complaint
    assert not (checkout / "data/pool/faces.zarr").exists()


def test_a_worker_in_another_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(here)
    with cluster(elsewhere, workers=1) as machines:
        with pytest.raises(InputError, match=rf"worker tcp://\S+ does not see .*{elsewhere};"):
            list(Workers(scheduler=machines.address).run(Job(here), TASKS))
    assert not begun(here)
    assert not list(here.rglob("*meeting*"))  # nothing is left behind


def test_a_worker_that_cannot_load_the_code_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lost = tmp_path / "lost.py"
    lost.write_text("import sys\nsys.modules['pipeline'] = None\n", encoding="utf-8")
    with cluster(tmp_path, workers=0) as machines:
        words = [machines.address, "--no-nanny", "--no-dashboard", "--preload", str(lost)]
        worker = start(tmp_path, "distributed.cli.dask_worker", *words)
        try:
            with pytest.raises(InputError, match=r"worker tcp://\S+ cannot load .*pipeline"):
                list(Workers(scheduler=machines.address).run(Job(tmp_path), TASKS))
        finally:
            worker.kill(group=True)


def test_a_worker_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with cluster(tmp_path, workers=1) as machines:
        workers = Workers(scheduler=machines.address)
        assert sorted(workers.run(Job(tmp_path), TASKS)) == [0, 1, 2]  # it is there
        monkeypatch.setattr(pipeline.building.meeting, "PATIENCE", 1.0)
        os.kill(machines.workers[0].process.pid, signal.SIGSTOP)
        with pytest.raises(InputError, match=r"worker tcp://\S+ has not answered in 1 s; restart"):
            list(workers.run(Job(tmp_path), TASKS))


def test_a_cluster_without_workers_is_waited_for_no_longer_than_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline.building.meeting, "PATIENCE", 0.5)
    monkeypatch.setattr(pipeline.building.meeting, "LOOK", 0.1)
    with cluster(tmp_path, workers=0) as machines:
        with pytest.raises(InputError, match=r"no worker has come in 0\.5 s; start some: on every"):
            list(Workers(scheduler=machines.address).run(Job(tmp_path), TASKS))
    assert capsys.readouterr().err == "no worker is there; waiting 0.5 s for one\n"


def test_workers_that_join_later_are_welcome_and_those_that_leave_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with cluster(tmp_path, workers=0) as machines:
        words = [machines.address, "--no-nanny", "--no-dashboard", "--nthreads", "1"]
        worker = start(tmp_path, "distributed.cli.dask_worker", *words)  # takes seconds to come
        try:
            results = Workers(scheduler=machines.address).run(Job(tmp_path), TASKS)
            next(results)
            monkeypatch.setattr(pipeline.building.meeting, "PATIENCE", 0.5)
            monkeypatch.setattr(pipeline.building.meeting, "LOOK", 0.1)
        finally:
            worker.kill(group=True)
        with pytest.raises(InputError, match=r"no worker has come"):
            list(results)


def test_only_what_both_have_loaded_is_compared() -> None:
    mine = Loaded({"pipeline.embed": "aa", "pipeline.render": "bb"}, {"torch": "2", "numpy": "1"})
    assert mine.unlike(Loaded({"pipeline.embed": "aa", "eval.gap": "x"}, {"torch": "2"})) is None
    assert mine.unlike(Loaded({"pipeline.embed": "cc"}, {})) == (
        "another pipeline.embed (cc, here it is aa)"
    )
    assert mine.unlike(Loaded({}, {"numpy": "3"})) == "numpy 3, here it is 1"


def test_what_is_loaded_is_the_code_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "some_job.py"
    file.write_text("VALUE = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import some_job  # type: ignore[import-not-found]

    before = loaded().code["some_job"]
    file.write_text("VALUE = 2\n", encoding="utf-8")
    assert some_job.VALUE == 1
    assert loaded().code["some_job"] == before


def test_a_worker_that_finds_other_weights_or_numerics_is_refused() -> None:
    made_by = Fingerprint({"name": "t", "weights_sha256": "aa"}, {"torch": "2"})
    require_made_by(made_by.text, made_by)
    with pytest.raises(InputError, match=r"has weights_sha256 bb, .* built with aa"):
        require_made_by(
            made_by.text, replace(made_by, identity={"name": "t", "weights_sha256": "bb"})
        )
    with pytest.raises(InputError, match=r"has onnxruntime 1, .* built with None"):
        require_made_by(made_by.text, replace(made_by, numerics={"torch": "2", "onnxruntime": "1"}))


def test_here_is_where_its_meeting_place_is(tmp_path: Path) -> None:
    here = Here(loaded(), tmp_path / "place")
    assert "does not see" in str(here.unlike())
    here.place.touch()
    assert here.unlike() is None
