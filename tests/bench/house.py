"""How large the house is, and how its rooms hang together.

    python -m tests.bench.house [CHECKOUT]     this one, or another, such as an older commit's

Prints JSON: files with code and their lines, the arrows in each package (of its rooms, the folders
and files in its root, a pair of which one imports the other), files that one other file alone
imports, and the code that stages name.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.conftest import ROOT
from tests.imports import imports

PACKAGES = ("manifests", "pipeline", "train", "eval")


def sources(root: Path) -> list[Path]:
    """With code, below a package."""
    files = [file for package in PACKAGES for file in (root / package).rglob("*.py")]
    return sorted(file for file in files if file.stat().st_size)


def imported(root: Path, file: Path) -> set[Path]:
    """The files below `root` with code that a file imports."""
    stems = {root / module.replace(".", "/") for module in imports(file)}
    places = {place for stem in stems for place in (stem.with_suffix(".py"), stem / "__init__.py")}
    return {place for place in places if place.is_file() and place.stat().st_size} - {file}


def code_entries(root: Path) -> Iterator[str]:
    """The Python files and folders of code among the deps of all stages."""
    for file in (root / "dvc.yaml", *(root / "params").rglob("*.yaml")):
        stages = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("stages", {})
        for stage in stages.values() if isinstance(stages, dict) else ():
            for dep in stage.get("do", stage)["deps"]:
                if dep.endswith(".py") or (root / dep / "__init__.py").exists():
                    yield f"{file.name}: {dep}"


def measure(root: Path = ROOT) -> dict[str, object]:
    files = sources(root)
    lines = [len(file.read_text(encoding="utf-8").splitlines()) for file in files]
    graph = {file: imported(root, file) for file in files}
    rooms = {file: file.relative_to(root).parts[:2] for file in files}
    arrows = {(rooms[file], rooms[other]) for file in files for other in graph[file]}
    importers = Counter(other for found in graph.values() for other in found)
    return {
        "files": len(files),
        "lines": sum(lines),
        "median_lines": statistics.median(lines),
        "longest": max(lines),
        "arrows": {
            package: sum(one != other and one[0] == other[0] == package for one, other in arrows)
            for package in PACKAGES
        },
        "files_with_one_importer": sum(count == 1 for count in importers.values()),
        "code_entries_of_stages": len(list(code_entries(root))),
    }


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]) if sys.argv[1:] else ROOT), indent=2))
