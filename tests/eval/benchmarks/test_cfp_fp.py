"""CFP's numbered lists and splits, of known answer, and the line of what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifests.core.errors import InputError
from tests.protocols import ACCURACY, CYAN, GREEN, RED, measure, opened, save

NUM_FOLDS = 10


@pytest.fixture
def cfp(tmp_path: Path) -> Path:
    """Two people a fold, each with two frontal photographs and two of a profile; the known answer
    lies in the profiles (of FP) and in the second frontal ones (of FF)."""
    lists: dict[str, list[str]] = {"F": [], "P": []}
    splits: dict[str, dict[str, list[str]]] = {}
    for fold in range(NUM_FOLDS):
        genuine, impostor = [RED, GREEN if fold == 3 else RED], [CYAN, RED if fold == 7 else CYAN]
        for person, shades in ((2 * fold + 1, genuine), (2 * fold + 2, impostor)):
            for letter, pose, colours in (
                ("F", "frontal", [RED if person % 2 else CYAN, *shades]), ("P", "profile", shades),
            ):  # fmt: skip
                for number, colour in enumerate(colours, 1):
                    name = f"{person:03}/{pose}/{number:02}.jpg"
                    save(tmp_path / "Data/Images" / name, colour)
                    lists[letter].append(f"{len(lists[letter]) + 1} ../Data/Images/{name}")
        one, p, f = 6 * fold + 1, 4 * fold + 1, 6 * fold + 2
        splits[f"FP/{fold + 1:02}"] = {
            "same": [f"{one},{p}", f"{one},{p + 1}"], "diff": [f"{one},{p + 2}", f"{one},{p + 3}"],
        }  # fmt: skip
        splits[f"FF/{fold + 1:02}"] = {
            "same": [f"{one},{f}", f"{one},{f + 1}"], "diff": [f"{one},{f + 3}", f"{one},{f + 4}"],
        }  # fmt: skip
    for letter, lines in lists.items():
        (tmp_path / "Protocol").mkdir(exist_ok=True)
        (tmp_path / f"Protocol/Pair_list_{letter}.txt").write_text("\r\n".join(lines))
    for place, files in splits.items():
        folder = tmp_path / "Protocol/Split" / place
        folder.mkdir(parents=True)
        for name, lines in files.items():
            (folder / f"{name}.txt").write_text("\n".join(lines))
    return tmp_path


@pytest.mark.parametrize("kind", ["cfp-fp", "cfp-ff"])
def test_either_split_has_the_known_answer(cfp: Path, kind: str) -> None:
    protocol = opened(f"{kind}:{cfp}")
    own = protocol.benchmark
    assert (own.name, protocol.subject_rule) == (kind, "top")
    assert own.same.tolist() == [True, True, False, False] * NUM_FOLDS
    assert own.fold.tolist() == [k for k in range(NUM_FOLDS) for _ in range(4)]
    second = "profile/01" if kind == "cfp-fp" else "frontal/02"
    assert (own.left[4], own.right[4]) == ("003/frontal/01.jpg", f"003/{second}.jpg")
    assert own.right[6] == f"004/{second}.jpg"
    done = measure(f"{kind}:{cfp}").metrics
    assert done["accuracy"] == pytest.approx(ACCURACY, abs=1e-12)
    assert done["num_subjects"] == 2 * NUM_FOLDS


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("Pair_list_F.txt", "1 ../Data/Images/001/frontal/09.jpg", "line 61: .*expected a new num"),
        ("Pair_list_F.txt", "x ../Data/Images/001/frontal/01.jpg", "line 61: 'x .*expected a new"),
        ("Pair_list_P.txt", "99 ../Data/Images/gone.jpg", r"line 41: .*gone\.jpg: missing image"),
        ("Pair_list_P.txt", "99 ../Data/Images/../../x.jpg", r"line 41: .*x\.jpg: lies outside"),
        ("Split/FP/03/same.txt", "1,77", r"03/same\.txt, line 3: 77 is not in Pair_list_P\.txt"),
        ("Split/FP/03/diff.txt", "1;7", r"line 3: '1;7', expected two numbers: 12,34"),
    ],
)
def test_bad_lists_are_refused_in_one_line(cfp: Path, file: str, line: str, message: str) -> None:
    path = cfp / "Protocol" / file
    path.write_text(path.read_text() + "\n" + line)
    with pytest.raises(InputError, match=message):
        opened(f"cfp-fp:{cfp}")


def test_what_is_missing_is_said(cfp: Path) -> None:
    for fold in (cfp / "Protocol/Split/FF").iterdir():
        fold.rename(fold.with_name(f"fold{fold.name}"))
    with pytest.raises(InputError, match=r"Split/FF: no folders 01, 02, … of folds"):
        opened(f"cfp-ff:{cfp}")
    (cfp / "Protocol/Split/FP/01/same.txt").unlink()
    with pytest.raises(InputError, match=r"same\.txt: no such file; every fold has same\.txt and"):
        opened(f"cfp-fp:{cfp}")
    (cfp / "Protocol/Pair_list_P.txt").unlink()
    with pytest.raises(InputError, match=r"Pair_list_P\.txt: no such file"):
        opened(f"cfp-fp:{cfp}")
    with pytest.raises(InputError, match="benchmark cfp-fp needs a folder"):
        opened("cfp-fp:")


def test_a_pair_of_one_frontal_photograph_is_refused(cfp: Path) -> None:
    path = cfp / "Protocol/Split/FF/01/same.txt"
    path.write_text(path.read_text() + "\n1,1")
    with pytest.raises(InputError, match=r"line 3: 001/frontal/01\.jpg is compared with itself"):
        opened(f"cfp-ff:{cfp}")
