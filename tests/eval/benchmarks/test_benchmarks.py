"""Benchmark sources: frozen ORL, and one clear line for every kind of bad pairs folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval.benchmarks import open_benchmark
from manifests.core.errors import InputError
from manifests.photographs.protocols import Benchmark
from manifests.photographs.scores import subject_of
from tests.conftest import ROOT

HEADER = "fold,left,right,same\n"
GOOD = "0,a.png,b.png,1\n0,a.png,c.png,0\n1,b.png,a.png,1\n1,b.png,c.png,0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number, name in enumerate("abc"):
        Image.new("RGB", (60, 60), (number * 80, 20, 40)).save(tmp_path / f"images/{name}.png")
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


def test_freezing_orl_again_gives_the_committed_protocol(weights: Path) -> None:
    frozen = Benchmark.read(ROOT / "manifests/benchmarks/orl.parquet")
    again = open_benchmark(f"orl:{weights / 'orl'}").benchmark
    assert again.protocol_sha256 == frozen.protocol_sha256


def test_pairs_are_read_as_they_stand(folder: Path) -> None:
    protocol = open_benchmark(f"pairs:{folder}")
    assert protocol.benchmark.left == ("a.png", "a.png", "b.png", "b.png")
    assert protocol.benchmark.same.tolist() == [True, False, True, False]


def test_the_protocol_hash_moves_with_an_image_and_with_a_pair(folder: Path) -> None:
    before = open_benchmark(f"pairs:{folder}").benchmark.protocol_sha256
    Image.new("RGB", (60, 60), (1, 2, 3)).save(folder / "images/c.png")
    after = open_benchmark(f"pairs:{folder}").benchmark.protocol_sha256
    (folder / "pairs.csv").write_text(HEADER + GOOD.replace("1,b.png,a.png", "1,c.png,a.png"))
    last = open_benchmark(f"pairs:{folder}").benchmark.protocol_sha256
    assert len({before, after, last}) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + GOOD + "1,a.png,gone.png,1\n", r"line 6: .*images/gone\.png: missing image"),
        (HEADER + GOOD + "1,a.png,../pairs.csv,1\n", r"line 6: .*\.\./pairs\.csv: lies outside"),
        (HEADER + GOOD.replace("\n1,", "\n2,"), "fold 1 has no pairs"),
        (HEADER + GOOD.replace("c.png,0", "c.png,1"), "needs genuine and impostor pairs"),
        (HEADER + GOOD.replace("0,a.png,b", "x,a.png,b"), "line 2: fold 'x'"),
        (HEADER, "no pairs"),
        ("left,right\na,b\n", "columns left,right, expected fold,left,right,same"),
    ],
)
def test_bad_pairs_are_refused_in_one_line_before_images_are_read(
    folder: Path, text: str, message: str
) -> None:
    (folder / "pairs.csv").write_text(text)
    (folder / "images/c.png").write_text("not an image")
    with pytest.raises(InputError, match=message):
        open_benchmark(f"pairs:{folder}")


def test_all_bad_rows_are_named_at_once(folder: Path) -> None:
    rows = "1,a.png,gone.png,1\n1,a.png\n1,a.png,b.png,2\n0,a.png,b.png,1\nx,a.png,b.png,1\n"
    (folder / "pairs.csv").write_text(HEADER + GOOD + rows)
    with pytest.raises(InputError) as caught:
        open_benchmark(f"pairs:{folder}")
    first, *lines = str(caught.value).splitlines()
    assert first == f"{folder / 'pairs.csv'}: 4 faults"
    for line, (number, what) in zip(lines, [
        (6, "missing image"), (7, "2 filled cells, expected 4"), (8, "same '2'"), (10, "fold 'x'"),
    ], strict=True):  # fmt: skip
        assert f"line {number}: " in line and what in line


def test_a_file_that_is_no_image_is_named(folder: Path) -> None:
    (folder / "images/c.png").write_text("not an image")
    with pytest.raises(InputError, match=r"c\.png: not a readable image"):
        open_benchmark(f"pairs:{folder}")


def test_unknown_benchmark_lists_the_valid_ones() -> None:
    with pytest.raises(InputError, match="unknown benchmark 'ijb'; valid names: bin, folder, orl"):
        open_benchmark("ijb:/nowhere")
