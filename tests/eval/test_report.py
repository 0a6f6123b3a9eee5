"""The report over fabricated runs: real writers, random pictures, no network trained."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eval.benchmarks.base import Protocol
from eval.models import Model
from eval.page import cost_table, duration
from eval.report import gather, write_reports
from eval.verify import verify
from manifests import layout
from manifests.benchmarks import Benchmark
from manifests.boundaries import Boundaries
from manifests.digests import canonical_json
from manifests.errors import InputError
from manifests.files import read_json, write_json
from manifests.gaps import GapTable
from manifests.latents import LatentManifest
from manifests.params import Params
from manifests.scores import KIND
from manifests.stores import FaceStore
from manifests.tables import write_table
from pipeline.frames import ARCFACE112
from tests.toys import make_round
from train.checkpoint import FILE, LOG, StudentCard, load_student, save_student
from train.students import build_student

RUNS = ("start", "mined-1", "mined-2")
TRAINED = ("pool", "identities", "mined-1", "mined-2")
NUM_REGIONS = 3


def round_with(name: str, origin: str, **columns: np.ndarray) -> None:
    """A round whose manifest has these nullable columns."""
    count = len(next(iter(columns.values())))
    make_round(name, count, seed=7, failed=0.1, origin=origin, law="toy-law", **columns)


def make_rounds(num_mined: int) -> None:
    make_round("pool", 100, seed=1)
    make_round("probe", 40, seed=2)
    pool = LatentManifest.read(layout.manifest("pool"))
    references = np.repeat(pool.face_id[:7], 8)
    side = np.tile([-1, 1], 28).astype(np.int8)
    round_with("identities", "boundary", parent_id=references, side=side)
    for name in RUNS[1:]:
        parents = np.random.default_rng(0).choice(pool.face_id, num_mined)
        score, step = (np.full(num_mined, value, np.float32) for value in (0.6, 0.7))
        region = np.zeros(num_mined, np.int32)
        round_with(name, "mined", parent_id=parents, region_id=region, score=score, step=step)
    normals = np.eye(8, dtype=np.float32)[:7]
    reasons = ("", "", "", "", "", "", "inaccurate")
    accuracy = np.full(7, 0.7, np.float32)
    Boundaries(
        pool.face_id[:7], normals, accuracy, reasons, "z", "ridge", pool.digest, "0" * 64
    ).write(layout.boundaries("pool"))


def make_run(index: int, num_steps: int) -> None:
    """runs/NAME with a log of `num_steps` lines, and its figures on the probe."""
    name, trained = RUNS[index], TRAINED[: index + 2]
    paths = [p for r in trained for p in (layout.faces(r), layout.teacher(r, "toy"))]
    roots = {path.as_posix(): read_json(path / "passport.json")["merkle_root"] for path in paths}
    card = StudentCard(
        "small-resnet", 32, 0.25, 16, "arcface112", "cosine", "plain", canonical_json(roots),
        "0" * 64, "unknown", 640 + 64 * num_steps * index,
    )  # fmt: skip
    network = build_student("small-resnet", input_size=32, width=0.25, embedding_width=16)
    save_student(layout.run(name) / FILE, network, card)
    steps = 10 if index == 0 else num_steps
    history = [{"faces_seen": 64 * k, "loss": 1 / k, "learning_rate": 0.1} for k in range(1, steps)]
    sha256 = load_student(layout.run(name)).sha256
    student = asdict(card) | {"num_params": 1234, "sha256": sha256}
    log = {"student": student, "rounds": trained, "num_faces": 99, "history": history}
    after = RUNS[index - 1] if index else None
    write_json(layout.run(name) / LOG, {**log, "after": after, "train_seconds": 1.5})
    gap = {"mean": 0.5 - 0.1 * index, "standard_error": 0.01, "num_faces": 40}
    write_json(layout.gap_report(name), {"student_sha256": sha256, "probe": gap, "pool": gap})


def make_gaps() -> None:
    """The regions of mined-1, and the probe's gaps of the last student."""
    root = read_json(layout.teacher("probe", "toy") / "passport.json")["merkle_root"]
    ok = FaceStore.open(layout.faces("probe")).ok()
    ids = LatentManifest.read(layout.manifest("probe")).face_id[ok]
    region = np.arange(len(ids), dtype=np.int32) % NUM_REGIONS
    gap = (0.5 - 0.1 * region).astype(np.float32)
    GapTable(ids, gap, gap, gap, region, gap, "0" * 64, root).write(layout.regions("mined-1"))
    student = load_student(layout.run("mined-2")).sha256
    GapTable(ids, gap / 2, gap / 2, gap, region * 0 - 1, gap, student, root).write(
        layout.gap_table("mined-2", "probe")
    )


def make_verification(name: str, student_sha256: str) -> None:
    """reports/verify/NAME by the code that measures, with a network that only flattens."""
    generator = torch.Generator().manual_seed(0)
    names = [f"{number:02}.png" for number in range(60)]
    fold, same = np.arange(59, dtype=np.int16) % 2, np.arange(59) % 4 < 2
    benchmark = Benchmark(
        name, fold, tuple(names[:-1]), tuple(names[1:]), same, dict.fromkeys(names, "0" * 64)
    )
    protocol = Protocol(benchmark, Path("photographs"), all_pairs=False)
    crops = torch.rand((60, 3, 4, 4), generator=generator)
    for role, sha256 in (("student", student_sha256), ("teacher", "1" * 64)):
        model = Model(role, sha256, ARCFACE112.at(4), "cosine", False, lambda x: x.flatten(1))
        done = verify(protocol, model, crops, np.ones(60, bool))
        folder = layout.verification(name, role)
        write_table(folder / "scores.parquet", KIND, done.scores, {})
        write_json(folder / "metrics.json", done.metrics)


def make_everything(*, num_mined: int = 12, benchmarks: tuple[str, ...] = ("orl",)) -> None:
    make_rounds(num_mined)
    for index in range(len(RUNS)):
        make_run(index, num_steps=5 if num_mined else 0)
    make_gaps()
    for name in benchmarks:
        make_verification(name, load_student(layout.run("mined-2")).sha256)


@pytest.fixture
def toy_params(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(tmp_path)
    return Params(**{**vars(params), "teacher": "toy"})


def written(params: Params) -> tuple[dict[str, Any], str]:
    write_reports(gather("mined-2", params), params, layout.REPORTS)
    page = (layout.REPORTS / "index.html").read_text(encoding="utf-8")
    return read_json(layout.REPORTS / "summary.json"), page


def leaves(tree: Mapping[str, Any]) -> Iterator[Any]:
    for value in tree.values():
        yield from leaves(value) if isinstance(value, Mapping) else [value]


def table(name: str) -> list[dict[str, str]]:
    text = (layout.REPORTS / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def test_summary_and_page_of_a_whole_chain(toy_params: Params) -> None:
    make_everything(benchmarks=("orl", "pairs"))
    summary, page = written(toy_params)
    paths = list(leaves(summary["stores"]))
    assert len(paths) == 10
    assert all(not Path(path).is_absolute() and Path(path).is_dir() for path in paths)
    assert set(summary["num_faces"]) == set(summary["digests"]) == {*TRAINED, "probe"}
    assert summary["student"]["train_seconds"] == 4.5
    assert summary["gap_by_round"] == {
        "mined-1": {"before": 0.5, "after": 0.4},
        "mined-2": {"before": 0.4, "after": 0.3},
    }
    assert summary["orl"]["student"]["accuracy"] == summary["pairs"]["teacher"]["accuracy"]
    assert page.count("data:image/") > 20
    for section in ("Benchmarks", "ROC curves", "Identities", "Mined faces", "Provenance"):
        assert f"<h2>{section}</h2>" in page


def test_page_refers_to_nothing_outside_itself(toy_params: Params) -> None:
    make_everything()
    _, page = written(toy_params)
    addresses = re.findall(r"(?:src|href)\s*=\s*[\"']?([^\"'\s>]+)", page)
    assert addresses and all(address.startswith("data:image/") for address in addresses)
    assert not re.search(r"<script|<link|@import|url\(", page)
    assert str(Path.cwd()) not in page


def test_empty_mined_rounds_and_missing_pairs(toy_params: Params) -> None:
    make_everything(num_mined=0)
    summary, page = written(toy_params)
    assert "pairs" not in summary
    assert summary["num_faces"]["mined-1"]["rows"] == 0
    assert "no mined face to show" in page
    rows = table("training.csv")
    assert {row["run"] for row in rows} == {"start"}


def test_curves_as_files(toy_params: Params) -> None:
    make_everything()
    written(toy_params)
    rows = table("training.csv")
    seen = [int(row["faces_seen"]) for row in rows]
    assert seen == sorted(seen) and seen[9] == 640 + 64
    rows = table("roc.csv")
    assert {(row["benchmark"], row["model"]) for row in rows} == {
        ("orl", "student"),
        ("orl", "teacher"),
    }


@pytest.mark.parametrize(
    ("spoiled", "message"),
    [
        (layout.REPORTS / "verify/orl/student/metrics.json", "no such file"),
        (layout.run("start") / LOG, "no such file"),
        (layout.teacher("pool", "toy") / "passport.json", "unfinished"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    toy_params: Params, spoiled: Path, message: str
) -> None:
    make_everything()
    spoiled.unlink()
    with pytest.raises(InputError, match=message):
        gather("mined-2", toy_params)


def test_figures_of_another_student_are_refused(toy_params: Params) -> None:
    make_everything()
    make_run(2, num_steps=5)
    with pytest.raises(InputError, match="the student at hand"):
        gather("mined-2", toy_params)


def test_a_student_of_other_stores_is_refused(toy_params: Params) -> None:
    make_everything()
    log = read_json(layout.run("mined-2") / LOG)
    log["student"]["stores"] = log["student"]["stores"].replace(':"', ':"0', 1)
    write_json(layout.run("mined-2") / LOG, log)
    with pytest.raises(InputError, match="was trained on 0"):
        gather("mined-2", toy_params)


def test_costs_by_stage() -> None:
    costs = cost_table(
        {"embed@pool": 3.0, "embed@new": 1.0, "verify": 9.0, "total": 13.0}, ["pool"]
    )
    assert costs["columns"] == ["pool", "new"]
    assert [stage for stage, _ in costs["rows"]] == ["verify", "embed"]
    assert [duration(s) for s in (2.0, 90.0, 3700.0)] == ["2.0 s", "2 min", "1 h 02 min"]
