"""An export with files for every client that is installed, made once."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest

from tests.exports import RUN
from tests.train.exporting.conftest import made
from tests.train.exporting.toys import command

__all__ = ["made"]
NEEDS = {"insightface": "insightface", "mobile": "litert_torch", "web": "onnxruntime"}


@pytest.fixture(scope="session")
def exported(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clients") / "copy"
    shutil.copytree(made, folder)
    here = [name for name, module in NEEDS.items() if importlib.util.find_spec(module)]
    with chdir(folder):
        command(RUN.as_posix(), *(word for name in here for word in ("--for", name)))
    return folder


@pytest.fixture
def inside(exported: Path) -> Iterator[Path]:
    with chdir(exported):
        yield exported
