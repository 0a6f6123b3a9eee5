"""What a file imports, read from its text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT


def imports(path: Path) -> Iterator[str]:
    """Modules, and names that may be modules, wherever in the file they are imported."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def file_of(module: str) -> Path | None:
    """The file of this repository that a module is, if it is one."""
    stem = ROOT / module.replace(".", "/")
    found = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((path for path in found if path.exists()), None)
