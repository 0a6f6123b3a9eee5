"""Image sets that are none, or that may not be read: refused before anything is made."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manifests.core import layout
from manifests.core.errors import InputError
from manifests.settings.params import Params
from pipeline.adoption.image_sets import Wanted, read_image_set
from tests.pipeline.adoption.toys import SET, adopted
from tests.protocols import encoded_bomb


def nothing(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def unreadable(folder: Path) -> None:
    (folder / "2/2.png").write_bytes(b"\x89PNG" + bytes(50))


def cut_short(folder: Path) -> None:
    path = folder / "2/2.png"
    path.write_bytes(path.read_bytes()[:-40])


def link_outside(folder: Path) -> None:
    shutil.move(folder / "2/2.png", "secret.png")
    (folder / "2/2.png").symlink_to(Path("secret.png").resolve())


def linked_folder(folder: Path) -> None:
    shutil.move(folder / "2", "other")
    (folder / "2").symlink_to(Path("other").resolve())


def twins(folder: Path) -> None:
    shutil.copy(folder / "0/0.png", folder / "2/2.png")


def bomb(folder: Path) -> None:
    (folder / "2/2.png").write_bytes(encoded_bomb(30_000, 30_000))


def link_loop(folder: Path) -> None:
    (folder / "2/x.png").symlink_to("x.png")


def deep(folder: Path) -> None:
    Image.fromarray(np.full((32, 32), 20_000, np.uint16)).save(folder / "2/2.png")


def unlike_sizes(folder: Path) -> None:
    Image.new("RGB", (40, 40)).save(folder / "2/2.png")


def oblong(folder: Path) -> None:
    Image.new("RGB", (40, 32)).save(folder / "2/2.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nothing, "^digiface: no images"),
        (shutil.rmtree, "^digiface: no such folder; name one with images"),
        (unreadable, r"2/2\.png: not a readable image"),
        (cut_short, r"2/2\.png: not a readable image"),
        (link_outside, r"2/2\.png: lies outside digiface"),
        (linked_folder, r"digiface/2: a link to a folder"),
        (twins, r"2/2\.png: the same bytes as 0/0\.png; remove one"),
        (bomb, r"2/2\.png: (30000x30000 pixels, at most|not a readable image)"),
        (link_loop, r"2/x\.png: a link that leads to itself; remove it"),
        (deep, r"2/2\.png: pixels of more than 8 bits"),
        (unlike_sizes, r"2/2\.png: 40x40 pixels, 0/0\.png has 32x32; aligned crops are of one"),
        (oblong, r"2/2\.png: 40x32 pixels; an aligned crop is square"),
    ],
)
def test_bad_sets_are_refused_before_anything_is_made(
    images: dict[str, np.ndarray], params: Params, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(SET)
    with pytest.raises(InputError, match=message) as caught:
        adopted(params)
    assert "\n" not in str(caught.value)
    assert not layout.manifest("digi").exists() and not layout.faces("digi").exists()


def test_all_faults_are_told_in_one_pass(images: dict[str, np.ndarray], params: Params) -> None:
    shutil.copy(SET / "0/0.png", SET / "1/twin.png")
    shutil.copy(SET / "0/0.png", SET / "1/triplet.png")
    for spoil in (cut_short, link_loop):
        spoil(SET)
    Image.fromarray(np.full((32, 32), 20_000, np.uint16)).save(SET / "3/0.png")
    Image.new("RGB", (40, 40)).save(SET / "4/0.png")
    Image.new("RGB", (40, 32)).save(SET / "5/0.png")
    with pytest.raises(InputError) as caught:
        adopted(params)
    first, *lines = str(caught.value).splitlines()
    assert first == "digiface: 7 faults"
    for line, (name, what) in zip(lines, [
        ("1/triplet.png", "the same bytes as 0/0.png"), ("1/twin.png", "the same bytes as 0/0.png"),
        ("2/2.png", "not a readable image"), ("2/x.png", "a link that leads to itself"),
        ("3/0.png", "more than 8 bits"), ("4/0.png", "40x40 pixels, 0/0.png has 32x32"),
        ("5/0.png", "40x32 pixels; an aligned crop is square"),
    ], strict=True):  # fmt: skip
        assert line.startswith(f"digiface/{name}: ") and what in line


def test_a_folder_that_may_not_be_read_is_not_left_out(
    images: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def denied(path: str) -> object:
        if str(path).endswith("2"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    assert len(read_image_set(Wanted(SET), aligned=True)) == len(images)
    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(InputError, match=r"digiface/2: cannot be read \(Permission denied\)"):
        read_image_set(Wanted(SET), aligned=True)
