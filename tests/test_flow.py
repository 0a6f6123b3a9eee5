"""The flow as a whole: its edges, its code lists, and that two builds are the same bytes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from manifests.core.digests import folder_hashes
from manifests.core.files import read_json
from manifests.settings.params import load_params
from manifests.stores.latents import LatentManifest
from manifests.stores.reading import FaceStore, TeacherStore, store_root
from tests.flow import ROOT, VERBS, build, ordered_commands, resolved_commands
from tests.imports import file_of, imports

ROUNDS = ("pool", "probe", "identities", "mined-1", "mined-2")
FOLDERS = (
    "pipeline/generators", "pipeline/teachers", "train/students", "eval/annotators",
    "eval/benchmarks",
)  # fmt: skip
MEASURES_PHOTOGRAPHS = {"verify", "annotate-photographs", "drift", "leakage", "model-card"}
SMALL = {  # of the toy preset
    "sample": {"pool": {"count": 256}, "probe": {"count": 64}},
    "boundaries": {"neighbours": 160},
    "identities": {"per_side": 4},
    "mine": {"count": 48},
    "train": {
        "student": {"width": 0.25, "input_size": 32},
        "warmup_faces": 256,
        "pool_rows": 256,
        "runs": {"start": {"faces_seen": 1280}},
    },
    "mined": {name: {"faces_seen": 640} for name in ("mined-1", "mined-2")},
}
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
STUDIES = {
    name: stage
    for path in sorted((ROOT / "params/studies/stages").glob("*.yaml"))
    for name, stage in yaml.safe_load(path.read_text(encoding="utf-8"))["stages"].items()
}
ALL = STAGES | STUDIES


def closure(path: Path, seen: set[Path]) -> set[Path]:
    if path not in seen:
        seen.add(path)
        found = [file_of(module) for module in imports(path)]
        if path.name == "__init__.py" and path.parent.relative_to(ROOT).as_posix() in FOLDERS:
            found += path.parent.glob("*.py")  # backends are imported by name
        for target in filter(None, found):
            closure(target, seen)
    return seen


def covers(entry: str, name: str) -> bool:
    return name == entry or name.startswith(f"{entry}/")


@pytest.mark.parametrize("name", ALL)
def test_each_stage_depends_on_the_code_it_imports_and_on_no_other(name: str) -> None:
    """By folders, and by the files in a package's root."""
    start = file_of(module_of(name))
    assert start is not None
    found = (path for path in closure(start, set()) if path.stat().st_size)
    needed = {path.relative_to(ROOT).as_posix() for path in found}
    entries = {dep for dep in ALL[name].get("do", ALL[name])["deps"] if is_code(dep)}
    assert [n for n in sorted(needed) if not any(covers(e, n) for e in entries)] == []
    assert [e for e in sorted(entries) if not any(covers(e, n) for n in needed)] == []


def is_code(dep: str) -> bool:
    """A .py file of a package's root, or a folder with code."""
    path = ROOT / dep
    return dep.endswith(".py") or (path.is_dir() and (path / "__init__.py").exists())


def test_no_folder_of_code_holds_an_output() -> None:
    made = {out for stage in ALL.values() for out in outputs(stage.get("do", stage))}
    deps = {dep for stage in ALL.values() for dep in stage.get("do", stage)["deps"]}
    folders = filter(is_code, deps)
    assert not [(folder, out) for folder in folders for out in made if covers(folder, out)]


def test_without_a_gate_no_stage_searches_for_people() -> None:
    assert STAGES["leakage"]["foreach"] == "${leakage}"
    assert load_params(ROOT / "params.yaml").leakage == {}
    assert not [command for command in resolved_commands() if "leakage" in str(command)]


def test_every_stage_says_what_it_is_for() -> None:
    assert all(stage.get("do", stage)["desc"] for stage in ALL.values())


def test_nothing_that_trains_or_mines_reads_a_verification() -> None:
    readers = {
        name
        for name, stage in STAGES.items()
        if any("reports/verify" in str(dep) for dep in stage.get("do", stage)["deps"])
    }
    assert readers == {"model-card", "report"}


def outputs(stage: dict[str, Any]) -> Iterator[str]:
    """What a stage makes, its loop left rolled: data/${item}/faces.zarr."""
    for kind in ("outs", "metrics", "plots"):
        for out in stage.get(kind, []):
            yield from out if isinstance(out, dict) else [out]


def unrolled(pattern: str) -> str:
    """One text for a path and for the loop's pattern that stands for it."""
    return re.sub(r"pool|probe|identities|mined-[12]|start|\$\{[a-z.]+\}", "*", pattern)


def made_from(name: str, seen: set[str]) -> set[str]:
    """A stage and all that it depends on, directly or not."""
    if name not in seen:
        seen.add(name)
        deps = {unrolled(str(dep)) for dep in ALL[name].get("do", ALL[name])["deps"]}
        for other, stage in ALL.items():
            made = {unrolled(out) for out in outputs(stage.get("do", stage))}
            if any(covers(out, dep) or covers(dep, out) for dep in deps for out in made):
                made_from(other, seen)
    return seen


@pytest.mark.parametrize(
    ("key", "stage"), [("train.runs.start", "train"), ("mined.${key}", "train-mined")]
)
def test_what_a_run_has_of_its_own_trains_it_alone(key: str, stage: str) -> None:
    """The page shows all parameters; drift and gates are of the rounds that are listed."""
    asked = {
        name
        for name, own in STAGES.items()
        for param in own.get("do", own).get("params", [])
        if param == key or key.startswith(f"{param}.")
    }
    assert asked - {"drift", "leakage"} == {stage, "report"}


def test_without_a_mined_round_all_that_is_depended_on_is_made() -> None:
    stages = [own.get("do", own) for own in STAGES.values() if own.get("foreach") != "${mined}"]
    made = {unrolled(out) for stage in stages for out in outputs(stage)}
    for dep in (unrolled(dep) for stage in stages for dep in stage["deps"]):
        if dep.startswith(("data/", "runs/", "reports/")):
            assert any(covers(out, dep) or covers(dep, out) for out in made), dep


@pytest.mark.parametrize("name", sorted(set(STAGES) - MEASURES_PHOTOGRAPHS - {"report"}))
def test_nothing_that_trains_or_mines_comes_from_photographs(name: str) -> None:
    assert not made_from(name, set()) & MEASURES_PHOTOGRAPHS


def test_no_study_trains_on_what_was_measured_on_photographs() -> None:
    measuring = {name for name in STUDIES if module_of(name).startswith("eval.")}
    for name in set(STUDIES) - measuring:
        assert not made_from(name, set()) & (MEASURES_PHOTOGRAPHS | measuring), name


def test_no_stage_of_the_default_flow_knows_a_round_of_photographs() -> None:
    """Whatever trains asks the switch, which is off (tests/manifests/settings/test_real_faces.py);
    and here no stage makes such a round, names it, or would see the switch turned."""
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    assert "real-faces" not in text and "real_faces" not in text
    assert "adopt" not in " ".join(own.get("do", own)["cmd"] for own in STAGES.values())
    assert not load_params(ROOT / "params.yaml").real_faces.allow


def test_whatever_trains_by_a_study_sees_the_switch_turned() -> None:
    """A round of photographs may be among its data: off, the switch refuses what is there."""
    for name, stage in STUDIES.items():
        own = stage.get("do", stage)
        if any(out.startswith("runs/studies/") for out in outputs(own)):
            assert "real_faces" in own["params"], name


def test_the_default_flow_needs_no_study() -> None:
    assert not set(STAGES) & set(STUDIES)
    for name in STAGES:
        assert not made_from(name, set()) & set(STUDIES)


def module_of(name: str) -> str:
    command: str = ALL[name].get("do", ALL[name])["cmd"]
    return VERBS[command.split()[1]].module


def test_what_is_measured_on_photographs_is_traced() -> None:
    assert {"annotate-photographs", "annotate", "render"} <= made_from("drift", set())
    assert "mine" in made_from("train-mined", set())


def test_the_test_flow_runs_every_command_of_the_pipeline() -> None:
    assert sorted(map(str, ordered_commands())) == sorted(map(str, resolved_commands()))


def test_lock_file_names_no_local_versions() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "torch==2.13.0" in lock.splitlines()
    assert "+" not in lock and "@" not in lock


@pytest.fixture(scope="module")
def two_builds(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> list[Path]:
    """The second one without the stages at the end, which only measure and report."""
    return [
        build(tmp_path_factory.mktemp("a"), weights, SMALL),
        build(tmp_path_factory.mktemp("b"), weights, SMALL, until="eval.drift"),
    ]


def test_two_builds_give_identical_manifests_and_stores(two_builds: list[Path]) -> None:
    first, second = (
        folder_hashes(build / "data") | folder_hashes(build / "manifests") for build in two_builds
    )
    assert len(first) > 80
    assert first == second


def test_rounds_never_share_a_latent_with_the_probe(two_builds: list[Path]) -> None:
    latents = {
        name: {
            row.tobytes()
            for row in LatentManifest.read(
                two_builds[0] / f"manifests/rounds/{name}.parquet"
            ).latents
        }
        for name in ROUNDS
    }
    for one, other in itertools.combinations(ROUNDS, 2):
        assert not latents[one] & latents[other]


def test_face_ids_never_collide_between_rounds(two_builds: list[Path]) -> None:
    ids = [
        LatentManifest.read(two_builds[0] / f"manifests/rounds/{name}.parquet").face_id.tolist()
        for name in ROUNDS
    ]
    assert len(set(itertools.chain(*ids))) == sum(map(len, ids))


def test_passports_hold_the_root_of_the_bytes_on_disk(two_builds: list[Path]) -> None:
    for name in ROUNDS:
        faces = FaceStore.open(two_builds[0] / f"data/{name}/faces.zarr")
        teacher = TeacherStore.open(
            two_builds[0] / f"data/{name}/teachers/dlib-resnet.zarr", expect={"faces": faces.root}
        )
        assert store_root(faces.path) == faces.root
        assert store_root(teacher.path) == teacher.root


def test_mined_faces_descend_from_the_pool(two_builds: list[Path]) -> None:
    rounds = two_builds[0] / "manifests/rounds"
    pool = set(LatentManifest.read(rounds / "pool.parquet").face_id.tolist())
    mined = LatentManifest.read(rounds / "mined-2.parquet")
    assert set(mined.table["parent_id"].drop_null().to_pylist()) <= pool
    by_prior = mined.table["law"].to_pylist().count("prior")
    for name in ("parent_id", "region_id", "step", "score"):
        assert mined.table[name].null_count == by_prior


def test_summary_holds_what_it_promises(two_builds: list[Path]) -> None:
    summary = read_json(two_builds[0] / "reports/summary.json")
    assert summary["student"]["run_dir"] == "runs/mined-2"
    assert set(summary["num_faces"]) == set(ROUNDS)
    for role in ("student", "teacher"):
        low, high = summary["orl"][role]["accuracy_ci95"]
        assert low <= summary["orl"][role]["accuracy"] <= high
    assert summary["orl"]["teacher"]["accuracy"] > 0.97
