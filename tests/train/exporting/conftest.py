"""A run and its export, made once; to look at, or to spoil a copy of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest

from tests.exports import RUN, make_trained_run
from tests.train.exporting.toys import command


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and its export, as the command makes it."""
    folder = tmp_path_factory.mktemp("exported")
    with chdir(folder):
        make_trained_run()
        command(RUN.as_posix())
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that a test may spoil, as the current folder."""
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def inside(made: Path) -> Iterator[Path]:
    """The folder itself, which a test leaves as it is."""
    with chdir(made):
        yield made
