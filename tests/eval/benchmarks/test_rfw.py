"""RFW's public layout: the known answer group by group, and the line of what is wrong."""

from __future__ import annotations

import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from eval.alignment import crops_in
from eval.benchmarks import open_benchmark
from eval.photos.verification import in_words
from manifests.core.errors import InputError
from pipeline.arrays.frames import ARCFACE112, DLIB150
from tests.protocols import GENUINE, GROUPS, IMPOSTOR, bin_lists, make_rfw, measure, opened

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
    assert in_words(metrics).endswith(
        "\nby group: African 0.9500; Asian 0.9750; Caucasian 0.9750; Indian 0.9750; mean 0.9688, "
        "STD 0.0125, SER 2.00"
    )
    # 16 pairs a fold: one mistake in fold 3, four in fold 7
    assert metrics["accuracy"] == pytest.approx((8 + 15 / 16 + 12 / 16) / 10, abs=1e-12)
    assert (metrics["num_pairs"], metrics["subject_rule"]) == (160, "folder")


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    for group, mistakes in MISTAKES.items():
        (tmp_path / f"{group}_test.bin").write_bytes(pickle.dumps(bin_lists(mistakes), 2))
    return tmp_path


def test_four_packed_files_have_the_answer_of_four_lists(packed: Path, made: Path) -> None:
    found, lists = (measure(f"rfw:{folder}") for folder in (packed, made))
    groups = [done.metrics["by_group"]["groups"] for done in (found, lists)]
    values = [{name: own["accuracy"]["value"] for name, own in each.items()} for each in groups]
    assert values[0] == pytest.approx(values[1], abs=1e-12)
    for name in ("accuracy_mean", "accuracy_std", "accuracy_ser"):
        own, other = (done.metrics["by_group"][name]["value"] for done in (found, lists))
        assert own == pytest.approx(other, abs=1e-12)
    assert list(found.pairs.group or ()) == [group for group in GROUPS for _ in range(40)]
    assert found.metrics["subject_rule"] == "image"
    assert found.metrics["num_pairs"] == 160


def test_packed_images_are_crops_whatever_is_asked(packed: Path) -> None:
    assert open_benchmark(f"rfw:{packed}").frame == ARCFACE112
    with pytest.raises(InputError, match="its images are crops in the frame arcface112; leave"):
        open_benchmark(f"rfw:{packed}", crops_in(DLIB150))


def test_a_packed_group_that_is_missing_or_there_twice_is_named(packed: Path) -> None:
    shutil.copy(packed / "Asian_test.bin", packed / "Asian.bin")
    (packed / "Indian_test.bin").rename(packed / "Indian.bin")  # by its other name
    with pytest.raises(InputError, match=r"Asian_test\.bin or Asian\.bin: both are there; bring"):
        opened(f"rfw:{packed}")
    (packed / "Asian.bin").unlink()
    (packed / "African_test.bin").unlink()
    (packed / "Caucasian_test.bin").write_bytes(pickle.dumps(([], []), 2))
    with pytest.raises(InputError, match=r"2 faults\n.*African\.bin: nei.*\n.*Cauc.*: 0 image"):
        opened(f"rfw:{packed}")


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
