"""CALFW's and CPLFW's lists of two lines a pair: the known answer, folds, bad lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from manifests.core.errors import InputError
from tests.protocols import ACCURACY, CYAN, GREEN, RED, jpeg, measure, opened

NUM_FOLDS = 10
SHADES = {RED: "Red", CYAN: "Cyan", GREEN: "Green"}


def two_lines(number: object, left: str, right: str) -> list[str]:
    return [f"{left}.jpg {number}", f"{right}.jpg {number}"]


def calfw(root: Path, images: str = "images") -> Path:
    """The known answer, genuine pairs first: one person with three photographs a fold."""
    genuine, impostor = [], []
    (root / images).mkdir(parents=True)
    for fold in range(NUM_FOLDS):
        shades = {"m_0001": RED, "m_0002": RED, "m_0003": GREEN if fold == 3 else RED}
        shades |= {"n_0001": CYAN, "n_0002": RED if fold == 7 else CYAN}
        for name, colour in shades.items():
            person, number = name.split("_")
            (root / images / f"{person}{fold}_{number}.jpg").write_bytes(jpeg(colour))
        m, n = f"m{fold}_000", f"n{fold}_000"
        genuine += [*two_lines(fold + 1, f"{m}1", f"{m}2"), *two_lines(fold + 1, f"{m}1", f"{m}3")]
        impostor += [*two_lines(0, f"{m}1", f"{n}1"), *two_lines(0, f"{m}1", f"{n}2")]
    (root / "pairs_CALFW.txt").write_text("\n".join([*genuine, *impostor]) + "\n")
    return root


@pytest.mark.parametrize("images", ["images", "images&landmarks/images", "aligned images"])
def test_calfw_has_the_known_answer(tmp_path: Path, images: str) -> None:
    protocol = opened(f"calfw:{calfw(tmp_path, images)}")
    own = protocol.benchmark
    assert (own.name, protocol.subject_rule) == ("calfw", "stem")
    assert own.fold[own.same].tolist() == [k for k in range(NUM_FOLDS) for _ in range(2)]
    assert own.fold[~own.same].tolist() == [k for k in range(NUM_FOLDS) for _ in range(2)]
    assert (own.left[-1], own.right[-1]) == ("m9_0001.jpg", "n9_0002.jpg")
    done = measure(f"calfw:{tmp_path}").metrics
    assert done["accuracy"] == pytest.approx(ACCURACY, abs=1e-12)
    assert done["num_subjects"] == 2 * NUM_FOLDS


def test_a_genuine_pair_is_in_the_fold_that_the_list_says(tmp_path: Path) -> None:
    """Not in the equal part of its order."""
    path = calfw(tmp_path) / "pairs_CALFW.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[36:40], *lines[4:36], *lines[:4], *lines[40:]]))
    own = opened(f"calfw:{tmp_path}").benchmark
    assert own.left[0] == "m9_0001.jpg"
    assert own.fold[own.same].tolist() == [9, 9, *(k for k in range(1, 9) for _ in range(2)), 0, 0]


def test_cplfw_says_one_and_nought_and_is_cut_in_equal_parts(tmp_path: Path) -> None:
    lines = (calfw(tmp_path) / "pairs_CALFW.txt").read_text().splitlines()
    ones = [f"{line.split()[0]} {int(line.split()[1] != '0')}" for line in lines]
    (tmp_path / "pairs_CPLFW.txt").write_text("\r\n".join(ones))
    one, other = opened(f"calfw:{tmp_path}").benchmark, opened(f"cplfw:{tmp_path}").benchmark
    assert other.name == "cplfw"
    assert (other.left, other.right) == (one.left, one.right)
    np.testing.assert_array_equal(other.fold, one.fold)
    by_file = opened(f"cplfw:{tmp_path / 'pairs_CPLFW.txt'}").benchmark
    assert by_file.protocol_sha256 == other.protocol_sha256


GOOD = two_lines(1, "m0_0001", "m0_0002")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (GOOD[:1], r"pairs_CALFW\.txt: 1 lines, expected two of every pair"),
        ([], r"pairs_CALFW\.txt: 0 lines, expected two"),
        ([*GOOD, "m0_0001.jpg 1", "m0_0002.jpg 0"], "lines 3 and 4: 1 and 0, expected one number"),
        ([*GOOD, "m0_0001.jpg", "m0_0002.jpg 0"], r"lines 3 and 4: 'm0_0001\.jpg', expected an im"),
        ([*GOOD, *two_lines(1, "m0_0001", "m0_0001")], "lines 3 and 4: .*compared with itself"),
        ([*GOOD, *two_lines(0, "m0_0001", "gone")], r"lines 3 and 4: .*gone\.jpg: missing image"),
        ([*GOOD, *two_lines(0, "m0_0001", "../../x")], r"lines 3 and 4: .*x\.jpg: lies outside"),
        ([*GOOD, *two_lines("-1", "m0_0001", "m0_0003")], "expected an image and a number"),
        (
            [*GOOD, *two_lines(3, "m0_0001", "m0_0003"), *two_lines(0, "m0_0001", "n0_0001")],
            r"genuine pairs in folds \[1, 3\], expected 1, 2",
        ),
        (GOOD, "1 genuine and 0 impostor pairs in 0 folds"),
    ],
)  # fmt: skip
def test_bad_lists_are_refused_in_one_line(
    tmp_path: Path, lines: Sequence[str], message: str
) -> None:
    (calfw(tmp_path) / "pairs_CALFW.txt").write_text("\n".join(lines))
    with pytest.raises(InputError, match=message):
        opened(f"calfw:{tmp_path}")


def test_a_missing_list_and_all_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="benchmark calfw needs a folder: calfw:DIR with pairs_C"):
        opened("calfw:")
    with pytest.raises(InputError, match=r"pairs_CPLFW\.txt: no such file; cplfw:DIR needs"):
        opened(f"cplfw:{calfw(tmp_path)}")
    bad = [*two_lines(1, "a", "b"), "x", "y"]
    (tmp_path / "pairs_CALFW.txt").write_text("\n".join(bad))
    with pytest.raises(InputError, match="2 faults"):
        opened(f"calfw:{tmp_path}")
