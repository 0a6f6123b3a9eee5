"""LFW's own lists: View 2's folds, View 1's two kinds, lists without a first line, bad lines; and
that the same pairs in other layouts are the same protocol."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from eval.benchmarks.base import Protocol
from manifests.core.errors import InputError
from tests.protocols import CUT, CYAN, RED, jpeg, known_pairs, measure, opened, save, write_rows
from tests.protocols import NUM_FOLDS as FOLDS

NUM_FOLDS, EACH = 3, 2
GENUINE = [f"m.{k}\t{a}\t{b}" for k in range(NUM_FOLDS) for a, b in ((1, 2), (1, 3))]
IMPOSTOR = [f"m.{k}\t{a}\tn.{k}\t1" for k in range(NUM_FOLDS) for a in (1, 2)]
VIEW_2 = [
    line
    for k in range(NUM_FOLDS)
    for kind in (GENUINE, IMPOSTOR)
    for line in kind[EACH * k : EACH * (k + 1)]
]


@pytest.fixture
def lfw(tmp_path: Path) -> Path:
    """Of each fold person m with three photographs and n with one, m.2's as PNG."""
    for fold in range(NUM_FOLDS):
        end = ".png" if fold == 2 else ".jpg"
        for number in (1, 2, 3):
            save(tmp_path / f"m.{fold}/m.{fold}_{number:04}{end}", RED)
        save(tmp_path / f"n.{fold}/n.{fold}_0001.jpg", CYAN)
    return tmp_path


def write(folder: Path, *lines: str, name: str = "pairs.txt") -> str:
    (folder / name).write_text("\n".join(lines) + "\n")
    return f"lfw:{folder if name == 'pairs.txt' else folder / name}"


def test_view_2_keeps_its_folds(lfw: Path) -> None:
    protocol = opened(write(lfw, f"{NUM_FOLDS}\t{EACH}", *VIEW_2))
    frozen = protocol.benchmark
    assert (protocol.subject_rule, frozen.name, frozen.alignment) == ("folder", "lfw", CUT.rule)
    assert frozen.fold.tolist() == [k for k in range(NUM_FOLDS) for _ in range(2 * EACH)]
    assert frozen.same.tolist() == [True, True, False, False] * NUM_FOLDS
    assert (frozen.left[0], frozen.right[0]) == ("m.0/m.0_0001.jpg", "m.0/m.0_0002.jpg")
    assert (frozen.left[-1], frozen.right[-1]) == ("m.2/m.2_0002.png", "n.2/n.2_0001.jpg")
    done = measure(f"lfw:{lfw}")
    assert (done.metrics["accuracy"], done.metrics["num_subjects"]) == (1.0, 2 * NUM_FOLDS)


@pytest.mark.parametrize("header", [[f"{len(GENUINE)}"], []], ids=["a number", "no first line"])
def test_view_1_and_lists_without_a_first_line_are_cut_in_each_kind(
    lfw: Path, header: list[str]
) -> None:
    """Six pairs of each kind make six folds, in which the order of the kinds says nothing."""
    text = write(lfw, *header, *GENUINE, *IMPOSTOR, name="pairsDevTest.txt")
    frozen = opened(text).benchmark
    assert frozen.fold.tolist() == [*range(6), *range(6)]
    spaces = [line.replace("\t", " ") for line in VIEW_2]
    mixed = opened(write(lfw, *header, *spaces)).benchmark
    assert mixed.fold.tolist() == [0, 1, 0, 1, 2, 3, 2, 3, 4, 5, 4, 5]


def test_ten_folds_are_those_of_view_2_without_its_first_line(lfw: Path) -> None:
    lines = [line for _ in range(10) for line in (VIEW_2[0], VIEW_2[2])]
    with_header = opened(write(lfw, "10\t1", *lines)).benchmark
    without = opened(write(lfw, *lines)).benchmark
    np.testing.assert_array_equal(with_header.fold, without.fold)
    assert with_header.protocol_sha256 == without.protocol_sha256


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["3\t2", *VIEW_2[:-1]], r"pairs\.txt: 6 genuine and 5 impostor pairs, .* promises 6 of"),
        (["3\t2", *VIEW_2[:-1], "m.2\t1\tz\t1"], r"line 13: .*z/z_0001\.jpg: missing image"),
        (["3\t2", *VIEW_2[:-1], "m.2\t1\tm.2\t3"], "line 13: two people expected, m.2 is named"),
        ([*VIEW_2, "m.0\t1\t9"], r"line 13: .*m\.0_0009\.jpg: missing image"),
        ([*VIEW_2, "m.0\t2\t2"], r"line 13: .*m\.0_0002\.jpg is compared with itself"),
        ([*VIEW_2, "..\t1\t2"], r"line 13: no person '\.\.'"),
        ([*VIEW_2, "m.0\tone\t2"], r"line 13: 'm\.0 one 2', expected person a b"),
        (GENUINE, "6 genuine and 0 impostor pairs in 0 folds; 2 to 1000"),
        ([], "0 genuine and 0 impostor pairs"),
    ],
)
def test_bad_lists_are_refused_in_one_line(lfw: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        opened(write(lfw, *lines))


def test_a_folder_without_a_list_is_said_so(lfw: Path) -> None:
    with pytest.raises(InputError, match=r"pairs\.txt: no such file; lfw:DIR needs pairs\.txt"):
        opened(f"lfw:{lfw}")
    with pytest.raises(InputError, match="benchmark lfw needs a folder: lfw:DIR"):
        opened("lfw:")


def lfw_layouts(root: Path) -> dict[str, Protocol]:
    """The known answer, whose pictures and folds are the same as LFW publishes them, as a .bin and
    as pairs.csv."""
    lines, rows, buffers, same = [f"{FOLDS}\t2"], [], [], []
    for row, (left, right, genuine) in enumerate(known_pairs()):
        people = f"m.{row}", f"m.{row}" if genuine else f"n.{row}"
        names = [f"{people[0]}/{people[0]}_0001.jpg", f"{people[1]}/{people[1]}_0002.jpg"]
        for name, colour in zip(names, (left, right), strict=True):
            (root / "lfw" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "lfw" / name).write_bytes(jpeg(colour))
            buffers.append(jpeg(colour))
        lines.append("\t".join([people[0], "1", *([] if genuine else people[1:]), "2"]))
        rows.append((row // 4, *names, int(genuine)))
        same.append(genuine)
    (root / "lfw/pairs.txt").write_text("\n".join(lines))
    shutil.copytree(root / "lfw", root / "pairs/images")
    write_rows(root / "pairs/pairs.csv", ("fold", "left", "right", "same"), rows)
    (root / "x.bin").write_bytes(pickle.dumps((buffers, same)))
    texts = {"lfw": root / "lfw", "pairs": root / "pairs", "bin": root / "x.bin"}
    return {kind: opened(f"{kind}:{place}") for kind, place in texts.items()}


def test_lfws_layouts_are_one_protocol_but_for_what_they_cannot_say(tmp_path: Path) -> None:
    """A .bin has no names: so nobody knows who is who. The kind's name is in every hash."""
    found = lfw_layouts(tmp_path)
    lfw, pairs, packed = (found[kind].benchmark for kind in ("lfw", "pairs", "bin"))
    for other in (pairs, packed):
        np.testing.assert_array_equal(other.fold, lfw.fold)
        np.testing.assert_array_equal(other.same, lfw.same)
        assert other.alignment == lfw.alignment
        for side in ("left", "right"):
            hashes = [[each.sha256[n] for n in getattr(each, side)] for each in (lfw, other)]
            assert hashes[0] == hashes[1]
    assert (pairs.left, pairs.right, pairs.sha256) == (lfw.left, lfw.right, lfw.sha256)
    rules = {kind: protocol.subject_rule for kind, protocol in found.items()}
    assert rules == {"lfw": "folder", "pairs": "folder", "bin": "image"}
    assert len({own.protocol_sha256 for own in (lfw, pairs, packed)}) == 3
    texts = f"lfw:{tmp_path / 'lfw'}", f"pairs:{tmp_path / 'pairs'}", f"bin:{tmp_path / 'x.bin'}"
    done = [measure(text) for text in texts]
    for other in done[1:]:
        np.testing.assert_array_equal(other.pairs.score, done[0].pairs.score)
        for key in ("accuracy", "accuracy_std", "auc", "eer", "accuracy_ci95"):
            assert other.metrics[key] == done[0].metrics[key]
