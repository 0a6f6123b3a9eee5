"""How eval's folders stand on each other: downwards only, and on no command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_flow import file_of, imports

# Each knows those above it: numbers; which pairs; pictures; what is said of a face; reports.
ORDER = ("scoring", "benchmarks", "photos", "attributes", "annotators", "reporting", "studies")
DOORS = {"gap": {"retention"}}  # commands that others are made of, and who may
FILES = sorted(path.relative_to(ROOT / "eval") for path in (ROOT / "eval").rglob("*.py"))


def imported(path: Path) -> Iterator[Path]:
    """The files of eval that one of them imports, packages without code left out."""
    for module in imports(ROOT / "eval" / path):
        found = file_of(module) if module.split(".")[0] == "eval" else None
        if found is not None and found.stat().st_size:
            yield found.relative_to(ROOT / "eval")


def test_every_folder_has_its_place() -> None:
    assert {path.parts[0] for path in FILES if len(path.parts) > 1} == {*ORDER}


@pytest.mark.parametrize("folder", ORDER)
def test_folders_import_downwards_only(folder: str) -> None:
    allowed = ORDER[: ORDER.index(folder) + 1]
    for path in FILES:
        for other in imported(path) if path.parts[0] == folder else ():
            assert len(other.parts) > 1, f"{path} imports the command {other}"
            assert other.parts[0] in allowed, f"{path} imports {other}"


def test_no_study_imports_another() -> None:
    for path in (path for path in FILES if path.parts[0] == "studies"):
        others = {other.parts[1] for other in imported(path) if other.parts[0] == "studies"}
        assert others <= {path.parts[1]}, path


def test_commands_are_made_of_folders() -> None:
    for path in (path for path in FILES if len(path.parts) == 1 and path.stem != "__init__"):
        assert 'if __name__ == "__main__":' in (ROOT / "eval" / path).read_text(encoding="utf-8")
        for other in imported(path):
            assert other.parts[0] != "studies", f"{path} imports {other}"
            door = DOORS.get(other.stem, set())
            assert len(other.parts) > 1 or path.stem in door, f"{path} imports {other}"
