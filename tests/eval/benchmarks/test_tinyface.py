"""TinyFace's folders: ranks and precision of known answer, small pictures, and what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.alignment import alignment_by
from eval.benchmarks import open_benchmark
from manifests.core.errors import InputError
from tests.protocols import CUT, CYAN, GREEN, RED, measure, opened, picture

PROBES = {"1_1.png": RED, "2_1.png": GREEN, "7_1.png": CYAN, "1_4.png": RED, "2_5.png": GREEN}
MATES = {"1_2.png": RED, "1_3.png": CYAN, "2_2.png": RED}
STRANGERS = {"a/x_1.png": CYAN, "b/x_1.png": GREEN}


def make_tinyface(root: Path) -> Path:
    """Pictures of 6 pixels a side."""
    for part, own in (
        ("Probe", PROBES),
        ("Gallery_Match", MATES),
        ("Gallery_Distractor", STRANGERS),
    ):
        for name, colour in own.items():
            path = root / "Testing_Set" / part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(colour, 6).save(path)
    return root


def test_ranks_and_precision_are_those_of_known_answer(tmp_path: Path) -> None:
    """Of probes 1 (RED) the mates score 1 and -1; another's face scores 1, one 0, one -1. So they
    are second, ties counting against them, and fifth: precisions 1/2, and from 1/4 to 2/5. Of
    probes 2 (GREEN) the only mate scores 0, as do three others but one that scores 1: fifth, with
    precision 1/5."""
    done = measure(f"tinyface:{make_tinyface(tmp_path)}").metrics
    found = done["identification"]
    assert (found["num_gallery"], found["num_probes"], found["num_probes_without_mate"]) == (
        5,
        5,
        1,
    )
    assert (found["rank_1"], found["rank_5"], found["rank_20"]) == (0.0, 1.0, 1.0)
    ones = ((0 / 1 + 1 / 2) / 2 + (1 / 4 + 2 / 5) / 2) / 2
    twos = (0 / 4 + 1 / 5) / 2
    assert found["mean_average_precision"] == pytest.approx((ones + twos) / 2, abs=1e-12)
    low, high = found["mean_average_precision_ci95_identity"]
    assert low <= found["mean_average_precision"] <= high
    assert done["num_templates"] == done["num_images"] == 10


def test_names_say_who_it_is_and_no_distractor_is_another(tmp_path: Path) -> None:
    own = opened(f"tinyface:{make_tinyface(tmp_path) / 'Testing_Set'}").benchmark
    assert own.templates is not None
    assert own.templates.gallery[-2:] == ("distractor 0/x_1.png", "distractor 1/x_1.png")
    pairs = list(zip(own.left, own.right, own.same.tolist(), strict=True))
    one, two = "1/Gallery_Match 1_2.png", "2/Gallery_Match 2_2.png"
    assert [pair[:2] for pair in pairs if pair[2]] == [
        ("1/Probe 1_1.png", one), ("1/Probe 1_4.png", one),
        ("2/Probe 2_1.png", two), ("2/Probe 2_5.png", two),
    ]  # fmt: skip
    strangers = [pair[:2] for pair in pairs if not pair[2]]
    assert [left for left, _ in strangers] == [
        f"{name.split('_')[0]}/Probe {name}" for name in sorted(PROBES)
    ]
    assert all(left.split("/")[0] != right.split("/")[0] for left, right in strangers)
    again = opened(f"tinyface:{tmp_path}").benchmark
    assert again.protocol_sha256 == own.protocol_sha256


@pytest.mark.usefixtures("weights_here")
def test_faces_fill_their_pictures_unless_it_is_said_that_they_are_cut(tmp_path: Path) -> None:
    text = f"tinyface:{make_tinyface(tmp_path)}"
    whole = open_benchmark(text).benchmark
    assert "; one that fills the picture; " in whole.alignment
    assert open_benchmark(text, alignment_by(face="whole")).benchmark.alignment == whole.alignment
    assert opened(text).benchmark.alignment == CUT.rule
    with pytest.raises(InputError, match=r"tinyface: its faces fill .*give --face whole too"):
        open_benchmark(text, alignment_by())


def test_bad_folders_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"benchmark tinyface needs a folder"):
        opened("tinyface:")
    with pytest.raises(InputError, match=r"Probe: no such folder; tinyface:DIR needs Probe/, Gal"):
        opened(f"tinyface:{tmp_path}")
    root = make_tinyface(tmp_path) / "Testing_Set"
    for name in ("ada_1.png", "12.png"):
        picture(RED).save(root / "Probe" / name)
    with pytest.raises(InputError, match=r"2 faults\n.*12\.png: no number .*\n.*ada_1\.png: no n"):
        opened(f"tinyface:{tmp_path}")
    for name in ("ada_1.png", "12.png", *PROBES):
        (root / "Probe" / name).unlink()
    picture(RED).save(root / "Probe/7_7.png")
    with pytest.raises(InputError, match=r"no probe is of a person in Gallery_Match"):
        opened(f"tinyface:{tmp_path}")
    picture(RED, 3).save(root / "Probe/1_1.png")
    picture(RED, 6).save(root / "Probe/2_1.png")
    with pytest.raises(InputError, match=r"1_1\.png: 3x3 pixels, at least 4 a side needed"):
        opened(f"tinyface:{tmp_path}")
