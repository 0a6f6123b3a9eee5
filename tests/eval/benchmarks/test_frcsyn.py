"""FRCSyn's comparison files in their published layout: whose a photograph is, groups, bad lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from manifests.core.errors import InputError
from tests.protocols import CYAN, GROUPS, IMPOSTOR, known_pairs, measure, opened, save


def make_list(root: Path, name: str, folder: str, lines: Sequence[str]) -> str:
    """A list and its pictures, of one colour a person."""
    for row, line in enumerate(lines):
        for image in line.split(";")[:2]:
            save(root / folder / image, (20 + row % 200, 128, 128))
    (root / f"{name}_comparison.txt").write_text("\n".join(lines) + "\n")
    return f"frcsyn:{root / f'{name}_comparison.txt'}"


def make_bupt(root: Path) -> str:
    """The known answer in each race, but for Africans without the impostor mistake, and a pair of
    two races a fold, after all others."""
    lines = []
    for race in GROUPS:
        mistakes = () if race == "African" else (IMPOSTOR,)
        for at, (left, right, same) in enumerate(known_pairs(mistakes)):
            people = [f"{race}/m.{at:02}", f"{race}/m.{at:02}" if same else f"{race}/n.{at:02}"]
            names = [f"{person}/{at}{side}.jpg" for person, side in zip(people, "ab", strict=True)]
            for name, colour in zip(names, (left, right), strict=True):
                save(root / "race_per_7000" / name, colour)
            lines.append(";".join(names))
    for at in range(10):
        save(root / f"race_per_7000/Indian/x.{at}/1.jpg", CYAN)
        lines.append(f"African/m.00/0a.jpg;Indian/x.{at}/1.jpg")
    (root / "bupt_comparison.txt").write_text("\n".join(lines) + "\n")
    return f"frcsyn:{root / 'bupt_comparison.txt'}"


def test_races_are_the_groups_of_balanced_face(tmp_path: Path) -> None:
    done = measure(make_bupt(tmp_path))
    own = done.metrics["by_group"]
    values = {name: group["accuracy"]["value"] for name, group in own["groups"].items()}
    wanted = dict.fromkeys(GROUPS, 0.975) | {"African": 1.0}
    assert values == pytest.approx(wanted, abs=1e-12)
    assert own["accuracy_mean"]["value"] == pytest.approx(0.98125, abs=1e-12)
    assert own["accuracy_std"]["value"] == pytest.approx(0.0125, abs=1e-12)
    assert own["num_pairs_of_no_group"] == 10
    assert (done.metrics["num_genuine"], done.metrics["num_pairs"]) == (80, 170)
    assert done.metrics["subject_rule"] == "folder"
    assert np.bincount(done.pairs.fold).tolist() == [17] * 10


NAMES = {  # a set's folder, and three photographs: the first two are of one person
    "agedb": ("03_Protocol_Images", "7_MariaCallas_35_f.jpg", "9_MariaCallas_52_f.jpg",
              "9_TitoGobbi_52_m.jpg"),
    "cfp-fp": ("cfp-dataset/Data/Images", "001/frontal/01.jpg", "001/profile/01.jpg",
               "002/profile/01.jpg"),
    "rof": ("ROF", "neutral/Ada/1.jpg", "masked/Ada/1.jpg", "masked/Bob/1.jpg"),
    "rof ": ("rof", "neutral/Ada/1.jpg", "masked/Ada/1.jpg", "masked/Bob/1.jpg"),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_tell_whose_a_photograph_is(tmp_path: Path, name: str) -> None:
    folder, one, same, other = NAMES[name]
    lines = [f"{one};{same}", f"{one};{other}", f"{same};{one}", f"{same};{other}"]
    protocol = opened(make_list(tmp_path, name.strip(), folder, lines))
    assert protocol.benchmark.same.tolist() == [True, False, True, False]
    assert protocol.benchmark.fold.tolist() == [0, 0, 1, 1]
    assert protocol.benchmark.group is None
    assert protocol.subject_rule == ("top" if name == "cfp-fp" else "image")


def test_a_third_cell_is_the_label(tmp_path: Path) -> None:
    lines = ["a.png;b.png;1", "a.png;c.png;0", "c.png;d.png;1", "b.png;d.png;0"]
    text = make_list(tmp_path, "own", "own", lines)
    assert opened(text).benchmark.same.tolist() == [True, False, True, False]
    assert opened(text).benchmark.name == "frcsyn own"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.png;b.png", r"line 5: no label, and only of bupt, agedb, .* names tell who is who"),
        ("a.png;b.png;yes", r"line 5: label 'yes', expected 1 \(one person\) or 0"),
        ("a.png", r"line 5: 'a\.png', expected LEFT;RIGHT or LEFT;RIGHT;1"),
        ("a.png;gone.png;0", r"line 5: .*gone\.png: missing image"),
        ("a.png;../own_comparison.txt;0", r"line 5: .*lies outside"),
        ("a.png;a.png;1", r"line 5: a\.png is compared with itself"),
        ("b.png;a.png;0", r"line 5: b\.png and a\.png are of two people here and of one by .* 1;"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    lines = ["a.png;b.png;1", "a.png;c.png;0", "c.png;d.png;1", "b.png;d.png;0"]
    text = make_list(tmp_path, "own", "own", lines)
    with (tmp_path / "own_comparison.txt").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=message):
        opened(text)


def test_a_list_without_its_images_says_where_they_belong(tmp_path: Path) -> None:
    (tmp_path / "bupt_comparison.txt").write_text("African/a/1.jpg;African/a/2.jpg\n")
    with pytest.raises(InputError, match=r"in no folder .*/bupt or .*/race_per_7000; bring them"):
        opened(f"frcsyn:{tmp_path / 'bupt_comparison.txt'}")
    with pytest.raises(InputError, match="nothing: no such file; name SET_comparison"):
        opened("frcsyn")
