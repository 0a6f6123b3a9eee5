"""Backends by name: files of ours and entry points of installed packages."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

import pipeline.generators
import pipeline.teachers
from manifests.core.backends import find_backend, load_backend, split_kind
from manifests.core.errors import InputError

GROUP = "facestill.generators"
MODULE = """
def load(weights):
    return ("loaded", weights)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages on the path, with none in it."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def install(site: Path, package: str, points: dict[str, str], code: str = MODULE) -> None:
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"[{GROUP}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    (site / f"{package}.py").write_text(code)


def test_an_entry_point_is_loaded_like_a_file(installed: Path) -> None:
    install(installed, "somegan", {"some-gan": "somegan"})
    found = load_backend(pipeline.generators, "generator", "some-gan", Path("w"), group=GROUP)
    assert found == ("loaded", Path("w"))


def test_an_entry_point_that_the_backport_finds_is_loaded_too(installed: Path) -> None:
    importlib.import_module("importlib_metadata")  # as dask does
    install(installed, "latergan", {"later-gan": "latergan"})
    found = load_backend(pipeline.generators, "generator", "later-gan", Path("w"), group=GROUP)
    assert found == ("loaded", Path("w"))


def test_only_the_one_asked_for_is_imported(installed: Path) -> None:
    install(installed, "somegan", {"some-gan": "somegan", "broken": "nothing_there"})
    install(installed, "othergan", {"other-gan": "othergan"}, "raise SystemExit")
    find_backend(pipeline.generators, "generator", "some-gan", group=GROUP)
    assert "othergan" not in sys.modules


@pytest.mark.parametrize("target", ["nothing_there", "brokengan:no_such"])
def test_an_entry_point_that_cannot_be_imported_is_named(installed: Path, target: str) -> None:
    install(installed, "brokengan", {"broken": target})
    with pytest.raises(InputError, match=r"^generator broken of brokengan: .*no(thing|_such)"):
        find_backend(pipeline.generators, "generator", "broken", group=GROUP)


def test_a_name_that_two_claim_is_refused(installed: Path) -> None:
    install(installed, "firstgan", {"twice": "firstgan", "dcgan-digiface": "firstgan"})
    install(installed, "secondgan", {"twice": "secondgan"})
    with pytest.raises(InputError, match=r"twice: named so by \w+gan, \w+gan; rename"):
        find_backend(pipeline.generators, "generator", "twice", group=GROUP)
    with pytest.raises(InputError, match=r"dcgan-digiface: named so by this project, firstgan"):
        find_backend(pipeline.generators, "generator", "dcgan-digiface", group=GROUP)


def test_entry_points_of_another_group_are_not_seen(installed: Path) -> None:
    install(installed, "somegan", {"some-gan": "somegan"})
    with pytest.raises(InputError, match="unknown teacher 'some-gan'"):
        find_backend(pipeline.teachers, "teacher", "some-gan", group="facestill.teachers")


def test_unknown_name_is_answered_with_files_and_entry_points(installed: Path) -> None:
    install(installed, "somegan", {"some-gan": "somegan"})
    with pytest.raises(InputError, match=r"valid names: .*dcgan-digiface.*some-gan"):
        find_backend(pipeline.generators, "generator", "biggan", group=GROUP)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("onnx", "teacher onnx needs a file: onnx:PATH"),
        ("onnx:", "teacher onnx needs a file: onnx:PATH"),
        ("dlib-resnet:a.dat", "teacher dlib-resnet takes no file"),
        ("dlib-resnet:", "teacher dlib-resnet takes no file"),
    ],
)
def test_a_path_is_asked_for_where_it_is_needed(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_backend(pipeline.teachers, "teacher", text, Path("w"))


@pytest.mark.parametrize("text", ["models/a.pth", "a.pth"])
def test_a_file_without_its_kind_is_asked_for_it(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.pth").touch()
    with pytest.raises(InputError, match=rf"teacher '{text}'; .*: KIND:{text}$"):
        load_backend(pipeline.teachers, "teacher", text, Path("w"))


def test_a_file_that_is_missing_is_named_with_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = rf"^a\.pkl: no such file, looked for from {tmp_path} \(generator stylegan2\)$"
    with pytest.raises(InputError, match=message):
        load_backend(pipeline.generators, "generator", "stylegan2:a.pkl", Path("w"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("orl", ("orl", "")),
        ("orl:", ("orl", "")),
        ("pairs:~/photos", ("pairs", "/home/ada/photos")),
        ("onnx:~", ("onnx", "/home/ada")),
        ("folder:a/~/b", ("folder", "a/~/b")),
        ("bin:C:/x.bin", ("bin", "C:/x.bin")),
    ],
)
def test_a_home_directory_behind_a_colon_is_written_out(
    text: str, parts: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert split_kind(text) == parts


@pytest.mark.parametrize("package", [pipeline.generators, pipeline.teachers])
def test_files_of_backends_are_looked_for_at_home(
    tmp_path: Path, package: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=rf"{tmp_path}/none\.onnx"):
        load_backend(package, "backend", "onnx:~/none.onnx", tmp_path)
