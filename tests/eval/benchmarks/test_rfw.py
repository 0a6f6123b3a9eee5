"""RFW's public layout: the known answer group by group, and the line of what is wrong."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from manifests.core.errors import InputError
from tests.protocols import GENUINE, GROUPS, IMPOSTOR, make_rfw, measure, opened

MISTAKES = {group: (IMPOSTOR,) for group in GROUPS} | {"African": (GENUINE, IMPOSTOR)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rfw(tmp_path_factory.mktemp("rfw"), MISTAKES)


@pytest.fixture
def rfw(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "rfw")


def test_every_group_has_its_known_answer(made: Path) -> None:
    metrics = measure(f"rfw:{made}").metrics
    groups = metrics["by_group"]["groups"]
    values = {name: group["accuracy"]["value"] for name, group in groups.items()}
    wanted = {"African": 0.95, "Asian": 0.975, "Caucasian": 0.975, "Indian": 0.975}
    assert values == pytest.approx(wanted, abs=1e-12)
    assert metrics["by_group"]["accuracy_mean"]["value"] == pytest.approx(0.96875, abs=1e-12)
    assert metrics["by_group"]["accuracy_std"]["value"] == pytest.approx(0.0125, abs=1e-12)
    assert metrics["by_group"]["accuracy_ser"]["value"] == pytest.approx(2.0, abs=1e-9)
    # 16 pairs a fold: one mistake in fold 3, four in fold 7
    assert metrics["accuracy"] == pytest.approx((8 + 15 / 16 + 12 / 16) / 10, abs=1e-12)
    assert (metrics["num_pairs"], metrics["subject_rule"]) == (160, "folder")


def test_lines_are_cut_into_ten_folds_a_group(made: Path) -> None:
    frozen = opened(f"rfw:{made}").benchmark
    assert np.bincount(frozen.fold).tolist() == [16] * 10
    assert frozen.left[0] == "African/m.0/m.0_0001.jpg"
    pairs = zip(frozen.left, frozen.right, strict=True)
    assert all(a.split("/")[0] == b.split("/")[0] for a, b in pairs)


def test_a_first_line_of_two_numbers_is_no_pair(made: Path, tmp_path: Path) -> None:
    headed = opened(f"rfw:{make_rfw(tmp_path, MISTAKES, header=True)}")
    plain = opened(f"rfw:{made}")
    assert headed.benchmark.protocol_sha256 == plain.benchmark.protocol_sha256


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("m.99\t1\t2", r"Asian_pairs\.txt, line 40: .*Asian/m\.99/m\.99_0001\.jpg: missing image"),
        ("m.0\t1\tn.99\t1", r"line 40: .*n\.99_0001\.jpg: missing image"),
        ("../African/m.0\t1\t2", r"line 40: no person '\.\./African/m\.0'"),
        ("m.0\t1\t1", r"line 40: .*m\.0_0001\.jpg is compared with itself"),
        ("m.0\t1\t9", r"line 40: .*m\.0_0009\.jpg: missing image"),
        ("m.0\t1\tm.0\t2", r"line 40: two people expected, m\.0 is named twice"),
        ("m.0\tone\t2", r"line 40: 'm\.0 one 2', expected person a b"),
        ("m.0", r"line 40: 'm\.0', expected person a b"),
        ("", "39 pairs, expected 10 folds of equal size"),
    ],
)
def test_a_bad_line_is_named(rfw: Path, line: str, message: str) -> None:
    path = rfw / "txts/Asian/Asian_pairs.txt"
    path.write_text("\n".join([*path.read_text().splitlines()[:-1], line]))
    with pytest.raises(InputError, match=message):
        opened(f"rfw:{rfw}")


def test_all_bad_lines_and_groups_are_named_at_once(rfw: Path) -> None:
    for group in ("Asian", "Indian"):
        path = rfw / f"txts/{group}/{group}_pairs.txt"
        path.write_text("\ufeff" + "\n".join(["m.0\t1\t9", *path.read_text().splitlines()[1:]]))
    (rfw / "txts/African/African_pairs.txt").unlink()
    with pytest.raises(InputError) as caught:
        opened(f"rfw:{rfw}")
    assert re.search(
        r"3 faults\n.*African_pairs.txt: no such file.*\n.*Asian_pairs.txt, line 1: .*0009.jpg: "
        r"miss.*\n.*Indian_pairs.txt, line 1: .*0009.jpg: miss",
        str(caught.value),
    )


def test_a_mark_that_an_editor_puts_before_a_list_is_passed_over(rfw: Path) -> None:
    before = opened(f"rfw:{rfw}").benchmark.fold
    (path, *_) = rfw.rglob("*pairs.txt")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert np.array_equal(opened(f"rfw:{rfw}").benchmark.fold, before)


def test_a_missing_group_is_named(rfw: Path) -> None:
    shutil.rmtree(rfw / "txts/Indian")
    with pytest.raises(InputError, match=r"Indian_pairs\.txt: no such file; rfw:DIR needs txts/"):
        opened(f"rfw:{rfw}")
