"""What every test may ask for: the real weights, and a workspace that stages run in."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import settings

from manifests.core import layout
from manifests.core.pulse import SILENT
from manifests.photographs.protocols import Benchmark
from manifests.settings.params import Params, load_params
from pipeline.weights import CACHE, FILES, gather, orl_files

pytest.register_assert_rewrite("tests.contracts")
settings.register_profile("suite", deadline=None)  # a busy machine is not a failure
settings.load_profile("suite")

ROOT = Path(__file__).parents[1]
# Of ORL: two names, and whether they are of one person.
PHOTOGRAPHS = (("s1/1", "s1/2", 1), ("s2/1", "s2/2", 1), ("s1/1", "s2/1", 0), ("s1/2", "s2/2", 0))


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """So that the commands which tests start are: a job that a shell runs behind itself is told
    to pass over Ctrl-C, and so would they be."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def silent() -> None:
    """What a command says on standard error is told apart from how far it is, which a busy machine
    makes it say."""
    os.environ[SILENT] = "1"


@pytest.fixture(scope="session", autouse=True)
def two_threads() -> Iterator[None]:
    """At most: `make test` gives each of its processes one."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, 2))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/weights with the real files of the embedded defaults."""
    target = tmp_path_factory.mktemp("data") / "weights"
    benchmark = Benchmark.read(ROOT / "manifests/benchmarks/orl.parquet")
    # Of several processes that run tests, the first one downloads what the cache lacks.
    with FileLock(tmp_path_factory.getbasetemp().parent / "weights.lock"):
        gather([*FILES, *orl_files(benchmark)], CACHE, target)
    return target


@pytest.fixture
def weights_here(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find their weights, wherever they run."""
    monkeypatch.setattr(layout, "WEIGHTS", weights)


def lay_out(folder: Path, weights: Path) -> Path:
    """`folder` with all that a stage reads of a checkout, weights included."""
    shutil.copytree(ROOT / "manifests/benchmarks", folder / "manifests/benchmarks")
    shutil.copytree(ROOT / "params", folder / "params")
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "data").mkdir()
    (folder / "data/weights").symlink_to(weights)
    return folder


@pytest.fixture
def workspace(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh checkout to run stages in; it is the current folder."""
    monkeypatch.chdir(lay_out(tmp_path, weights))
    return tmp_path


@pytest.fixture
def pairs(workspace: Path) -> str:
    """A benchmark: two folds of ORL's photographs, with other people in each."""
    lines = ["fold,left,right,same"]
    for fold in (0, 1):
        for *names, same in PHOTOGRAPHS:
            moved = [f"s{int(name[1]) + 2 * fold}/{name[3]}.pgm" for name in names]
            for name in moved:
                (workspace / "photos/images" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(
                    workspace / "data/weights/orl" / name, workspace / "photos/images" / name
                )
            lines.append(",".join([str(fold), *moved, str(same)]))
    (workspace / "photos/pairs.csv").write_text("\n".join(lines) + "\n")
    return f"pairs:{workspace / 'photos'}"


@pytest.fixture
def params() -> Params:
    """The parameters of this repository."""
    return load_params(ROOT / "params.yaml")
