"""Benchmark sources: frozen ORL, and one clear line for every kind of bad pairs folder."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval.alignment import alignment_by
from eval.benchmarks import open_benchmark
from eval.photos.photo_sets import open_photographs
from manifests.core.errors import InputError
from manifests.photographs.protocols import Benchmark
from manifests.photographs.scores import subject_of
from tests.conftest import ROOT
from tests.protocols import make_folder, opened, write_rows

HEADER = "fold,left,right,same\n"
GOOD = "0,a.png,b.png,1\n0,a.png,c.png,0\n1,b.png,a.png,1\n1,b.png,c.png,0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number, name in enumerate("abcde"):
        Image.new("RGB", (60, 60), (number * 50, 20, 40)).save(tmp_path / f"images/{name}.png")
    (tmp_path / "pairs.csv").write_text(HEADER + GOOD)
    return tmp_path


def test_orl_folds_are_disjoint_in_people_and_balanced() -> None:
    frozen = Benchmark.read(ROOT / "manifests/benchmarks/orl.parquet")
    assert (int(frozen.same.sum()), int((~frozen.same).sum())) == (1800, 1800)
    people: list[set[str]] = []
    for fold in range(10):
        rows = np.flatnonzero(frozen.fold == fold)
        people.append(
            {subject_of(n, "folder") for r in rows for n in (frozen.left[r], frozen.right[r])}
        )
        assert frozen.same[rows].sum() == 180
    assert sum(map(len, people)) == len(set().union(*people)) == 40


@pytest.mark.usefixtures("weights_here")
def test_freezing_orl_again_gives_the_committed_protocol(weights: Path) -> None:
    frozen = Benchmark.read(ROOT / "manifests/benchmarks/orl.parquet")
    again = open_benchmark(f"orl:{weights / 'orl'}", alignment_by("dlib")).benchmark
    assert again.protocol_sha256 == frozen.protocol_sha256


def test_pairs_are_read_as_they_stand(folder: Path) -> None:
    protocol = opened(f"pairs:{folder}")
    assert protocol.benchmark.left == ("a.png", "a.png", "b.png", "b.png")
    assert protocol.benchmark.same.tolist() == [True, False, True, False]


def test_the_protocol_hash_moves_with_an_image_and_with_a_pair(folder: Path) -> None:
    before = opened(f"pairs:{folder}").benchmark.protocol_sha256
    Image.new("RGB", (60, 60), (1, 2, 3)).save(folder / "images/c.png")
    after = opened(f"pairs:{folder}").benchmark.protocol_sha256
    (folder / "pairs.csv").write_text(HEADER + GOOD.replace("1,b.png,a.png", "1,d.png,a.png"))
    last = opened(f"pairs:{folder}").benchmark.protocol_sha256
    assert len({before, after, last}) == 3


GROUPED = "fold,left,right,same,group\n"
IN_GROUPS = "0,a.png,b.png,1,x\n0,a.png,c.png,0,\n1,d.png,e.png,1,y\n1,c.png,e.png,0,y\n"


def test_groups_of_pairs_are_part_of_the_protocol(folder: Path) -> None:
    (folder / "pairs.csv").write_text(GROUPED + IN_GROUPS)
    protocol = opened(f"pairs:{folder}")
    assert protocol.benchmark.group == ("x", "", "y", "y")
    (folder / "pairs.csv").write_text(GROUPED + IN_GROUPS.replace("0,y", "0,"))
    other = opened(f"pairs:{folder}")
    assert other.benchmark.protocol_sha256 != protocol.benchmark.protocol_sha256


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            IN_GROUPS.replace("1,d.png,e.png,1,y", "1,d.png,b.png,1,y"),
            r"line 4: d\.png is of group 'y' here, its person of 'x' by .*line 2; correct",
        ),
        (
            IN_GROUPS + "1,a.png,d.png,0,y\n",
            r"line 6: a\.png is of group 'y' here, its person of 'x' by .*line 2; correct",
        ),
        (IN_GROUPS.replace(",x\n", ",\n").replace(",y\n", ",\n"), "line 2: no pair has a group"),
        (IN_GROUPS.replace(",0,\n", ",0\n"), "line 3: 4 filled cells, expected 5: fold,left"),
    ],
)
def test_groups_that_cannot_be_are_refused(folder: Path, rows: str, message: str) -> None:
    (folder / "pairs.csv").write_text(GROUPED + rows)
    with pytest.raises(InputError, match=message):
        opened(f"pairs:{folder}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + GOOD + "1,a.png,gone.png,1\n", r"line 6: .*images/gone\.png: missing image"),
        (HEADER + GOOD + "1,a.png,../pairs.csv,1\n", r"line 6: .*\.\./pairs\.csv: lies outside"),
        (HEADER + GOOD.replace("\n1,", "\n2,"), "fold 1 has no pairs"),
        (HEADER + GOOD.replace("c.png,0", "c.png,1"), "needs genuine and impostor pairs"),
        (HEADER + GOOD.replace("0,a.png,b", "x,a.png,b"), "line 2: fold 'x'"),
        (HEADER + GOOD + "1,b.png,b.png,1\n", r"line 6: b\.png is compared with itself; remove"),
        (
            HEADER + GOOD + "1,b.png,a.png,0\n",
            r"line 6: b\.png and a\.png are of two people here and of one by .*line 2; correct",
        ),
        (
            HEADER + GOOD + "1,c.png,d.png,1\n0,e.png,d.png,1\n1,c.png,e.png,0\n",
            r"line 8: c\.png and e\.png are of two people .* by .*line 6; .*line 7; correct",
        ),
        (HEADER, "no pairs"),
        ("left,right\na,b\n", "columns left,right, expected fold,left,right,same or fold,left"),
    ],
)
def test_bad_pairs_are_refused_in_one_line_before_images_are_read(
    folder: Path, text: str, message: str
) -> None:
    (folder / "pairs.csv").write_text(text)
    (folder / "images/c.png").write_text("not an image")
    with pytest.raises(InputError, match=message):
        opened(f"pairs:{folder}")


def test_all_bad_rows_are_named_at_once(folder: Path) -> None:
    rows = "1,a.png,gone.png,1\n1,a.png\n1,a.png,b.png,2\n0,a.png,b.png,1\nx,a.png,b.png,1\n"
    (folder / "pairs.csv").write_text(HEADER + GOOD + rows)
    with pytest.raises(InputError) as caught:
        opened(f"pairs:{folder}")
    first, *lines = str(caught.value).splitlines()
    assert first == f"{folder / 'pairs.csv'}: 4 faults"
    for line, (number, what) in zip(lines, [
        (6, "missing image"), (7, "2 filled cells, expected 4"), (8, "same '2'"), (10, "fold 'x'"),
    ], strict=True):  # fmt: skip
        assert f"line {number}: " in line and what in line


def test_repeats_are_counted_and_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = opened(f"pairs:{folder}")
    assert good.repeats == {
        "num_images_repeated": 0, "num_pairs_of_one_picture": 0, "num_pairs_repeated": 1,
    }  # fmt: skip
    said = capsys.readouterr().err
    assert said.count("warning") == 1
    assert "1 of 4 pairs stand there before and count twice, as b.png and a.png" in said
    (folder / "images/d.png").write_bytes((folder / "images/a.png").read_bytes())
    more = "0,a.png,d.png,1\n1,c.png,d.png,0\n1,e.png,d.png,0\n"
    (folder / "pairs.csv").write_text(HEADER + GOOD + more)
    assert opened(f"pairs:{folder}").repeats == {
        "num_images_repeated": 1, "num_pairs_of_one_picture": 1, "num_pairs_repeated": 1,
    }  # fmt: skip
    said = capsys.readouterr().err
    assert "1 of 5 images are the very bytes of another" in said
    assert "1 of 7 pairs compare a picture with itself, 0 as two people, as a.png and d.png" in said


def test_a_label_that_hides_who_is_who_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = make_folder(tmp_path / "images", {f"p{number}": 2 for number in range(20)})
    names = sorted(path.relative_to(people).as_posix() for path in people.rglob("*.png"))
    rows = [(k % 4 // 2, a, b, int(a[:3] == b[:3])) for k, (a, b) in enumerate(pairwise(names))]
    write_rows(tmp_path / "pairs.csv", HEADER.strip().split(","), rows)
    assert opened(f"pairs:{tmp_path}").subject_rule == "folder"
    assert "labelled against" not in capsys.readouterr().err
    rows[6] = (*rows[6][:3], 0)
    write_rows(tmp_path / "pairs.csv", HEADER.strip().split(","), rows)
    assert opened(f"pairs:{tmp_path}").subject_rule == "image"
    said = capsys.readouterr().err
    assert "pairs.csv, line 8: labelled against its folder" in said and "in 38 of 39 pairs" in said


def test_a_folder_at_home_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of --benchmark, of verify.pairs in params.yaml, and of sets of photographs."""
    monkeypatch.setenv("HOME", str(folder.parent))
    there = opened(f"pairs:{folder}").benchmark.protocol_sha256
    assert opened(f"pairs:~/{folder.name}").benchmark.protocol_sha256 == there
    assert len(open_photographs(f"pairs:~/{folder.name}").images) == 5


def test_a_file_that_is_no_image_is_named(folder: Path) -> None:
    (folder / "images/c.png").write_text("not an image")
    with pytest.raises(InputError, match=r"c\.png: not a readable image"):
        opened(f"pairs:{folder}")


def test_unknown_benchmark_lists_the_valid_ones() -> None:
    with pytest.raises(
        InputError, match=r"unknown benchmark 'megaface'; valid names: bin, calfw, .*, lfw, orl"
    ):
        opened("megaface:/nowhere")
