"""The house: what lies where, who imports whom, and that tests mirror the tree.

The order of the rooms is that of the table in CONTRIBUTING.md, which is read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tests
from facestill import find_verbs
from tests.conftest import ROOT
from tests.imports import file_of, imports

PACKAGES = ("manifests", "pipeline", "train", "eval")
ARROWS = {
    "manifests": {"manifests"},
    "pipeline": {"manifests", "pipeline"},
    "train": {"manifests", "train", "pipeline.arrays"},
    "eval": {
        "manifests", "eval", "train.checkpoint", "pipeline.aligners", "pipeline.arrays",
        "pipeline.teachers", "pipeline.foreign",
    },
}  # fmt: skip
ROOM_ARROWS = {
    "train/adapting": ARROWS["train"] | {"pipeline.teachers"},  # gradients go through
    # makes faces while a student learns from them, by the functions of the stages that store some
    "train/sampling": ARROWS["train"] | {"pipeline"},
}
DOORS = {"train/checkpoint.py", "eval/alignment.py"}  # in a package's root, and no command
DATA = {"manifests/benchmarks", "manifests/rounds", "manifests/suites"}  # folders without code
CLIMBS = {  # imports of a room further down the table, to be mended
    ("pipeline/planning/estimates.py", "pipeline/render.py"),
    ("pipeline/planning/estimates.py", "pipeline/sample.py"),
}
MATTERS = {  # tests of what a folder does as a whole, not of one file
    "eval/reporting": {"page_in_browser"},
    "manifests/settings": {"bounds"},
    "manifests/stores": {"hostile", "hostile_arrays"},
    "pipeline": {"mine_commands", "rounds_in_w"},
    "pipeline/adoption": {"kinds", "photographs", "rounds", "taken_away"},
    "pipeline/generators": {"onnx_generators"},
    "pipeline/generators/stylegan": {"stylegans"},
    "pipeline/identities": {"identities_in_w"},
    "pipeline/mining": {"hardness", "stopping"},
    "train": {"distilling", "objective_runs", "quality_runs", "real_faces", "runs_of_students"},
    "train/exporting": {"bad_input", "exports", "files", "hub"},
}


def rooms() -> list[str]:
    """The first column of CONTRIBUTING's table: `manifests/core`, …, `eval/`, `eval/studies`."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.findall(rf"(?m)^\| `((?:{'|'.join(PACKAGES)})/[\w.]*)` \|", text)


def room_of(file: str) -> str:
    """The room that a file of a package lies in; a door is a room of its own."""
    package, *folders, _ = file.split("/")
    return file if file in DOORS else f"{package}/{folders[0] if folders else ''}"


def sources() -> Iterator[str]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.stat().st_size:
                yield path.relative_to(ROOT).as_posix()


def edges(file: str) -> Iterator[str]:
    """The files that a file imports."""
    for path in filter(None, map(file_of, imports(ROOT / file))):
        if path.stat().st_size:
            yield path.relative_to(ROOT).as_posix()


def test_a_package_s_root_has_commands_and_doors_alone() -> None:
    commands = {verb.file for verb in find_verbs(ROOT).values()}
    found = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).glob("*.py")
        if path.name != "__init__.py" and path not in commands
    }
    assert found == DOORS


def test_every_folder_is_a_room_of_the_table() -> None:
    assert len(rooms()) == len(set(rooms()))
    assert set(map(room_of, sources())) == set(rooms())
    folders = {
        f"{package}/{path.name}"
        for package in PACKAGES
        for path in (ROOT / package).iterdir()
        if path.is_dir() and path.name != "__pycache__"
    }
    assert folders - set(rooms()) <= DATA  # a clone has no rounds yet


def test_a_study_has_one_name_in_every_role() -> None:
    named = {path.stem.replace("-", "_") for path in (ROOT / "params/studies").glob("*.yaml")}
    for role in ("manifests/studies", "train/studies", "eval/studies"):
        found = {path.stem for path in (ROOT / role).iterdir() if not path.stem.startswith("__")}
        assert found <= named, role


def test_rooms_import_only_what_stands_above_them_in_the_table() -> None:
    place = {room: number for number, room in enumerate(rooms())}
    climbs = {
        (file, target)
        for file in sources()
        for target in edges(file)
        if place[room_of(target)] > place[room_of(file)]
    }
    assert climbs == CLIMBS


def test_packages_import_each_other_as_allowed() -> None:
    for file in sources():
        for module in imports(ROOT / file):
            if module.split(".")[0] in PACKAGES:
                parts = module.split(".")
                prefixes = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
                package = file.split("/")[0]
                allowed = prefixes & ROOM_ARROWS.get(room_of(file), ARROWS[package])
                assert allowed or module == "pipeline", f"{file}: {module}"


def test_contracts_do_not_import_torch() -> None:
    for path in (ROOT / "manifests").rglob("*.py"):
        assert not any(module.split(".")[0] == "torch" for module in imports(path)), path


@pytest.mark.parametrize("package", PACKAGES)
def test_tests_mirror_the_tree(package: str) -> None:
    matters = {place: set(names) for place, names in MATTERS.items()}
    for path in sorted((ROOT / "tests" / package).rglob("test_*.py")):
        place = path.parent.relative_to(ROOT / "tests")
        name = path.stem.removeprefix("test_")
        alike = (ROOT / place / f"{name}.py", ROOT / place / name)
        if not any(map(Path.exists, alike)) and place.name != name:
            assert name in matters.get(place.as_posix(), ()), f"{path}: of no such file"
            matters[place.as_posix()].remove(name)
    own = {place: left for place, left in matters.items() if place.split("/")[0] == package}
    assert not any(own.values()), f"exceptions that are none: {own}"


def test_what_lies_beside_the_tests_is_told() -> None:
    told = re.findall(r"(?m)^    (\w+)", tests.__doc__ or "")
    found = {path.stem for path in (ROOT / "tests").glob("*.py")}
    helpers = {name for name in found if not name.startswith(("test_", "__"))}
    assert set(told) == helpers | {"contracts", "references"}


def test_whoever_names_a_place_may_say_that_it_is_replaced() -> None:
    """Where --out stands, finished work may lie."""
    for verb in find_verbs(ROOT).values():
        path = file_of(verb.module)
        assert path is not None
        text = path.read_text(encoding="utf-8")
        if re.search(r'add_argument\(\s*"--out"', text):
            assert "add_force()" in text and "force=args.force" in text, verb.module
