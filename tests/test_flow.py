"""The flow as a whole: its edges, and its lists of code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from manifests.settings.params import load_params
from tests.flow import ROOT, VERBS, ordered_commands, resolved_commands
from tests.imports import file_of, imports

FOLDERS = (
    "pipeline/generators", "pipeline/teachers", "train/students", "eval/annotators",
    "eval/benchmarks",
)  # fmt: skip
MEASURES_PHOTOGRAPHS = {"verify", "annotate-photographs", "drift", "leakage", "model-card"}
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
