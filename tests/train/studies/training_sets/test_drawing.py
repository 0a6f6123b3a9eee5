"""What is drawn of a training set: equal numbers, the same faces for all, plain refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manifests.core.errors import InputError
from tests.toys import make_round
from train.batching.sources import Source, open_source
from train.studies.training_sets.drawing import draw


def source(name: str, people: np.ndarray | None = None, count: int = 60, seed: int = 1) -> Source:
    """A round whose every face is usable."""
    columns = {} if people is None else {"identity_id": people}
    faces, _ = make_round(name, count, seed=seed, failed=0.0, **columns)
    ids = np.arange(count) + 1000 * seed
    known = np.full(count, -1) if people is None else people
    return replace(open_source(faces, {}), face_ids=ids, identities=known)


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ids(sources: list[Source]) -> list[int]:
    return sorted(face for own in sources for face in own.face_ids[own.usable].tolist())


def test_faces_are_drawn_in_number_and_by_their_ids_alone() -> None:
    one, other = source("one"), source("other", seed=2)
    drawn = draw("set", [one, other], 50, None, 7)
    assert sum(len(own.usable) for own in drawn) == 50
    assert all((np.diff(own.usable) > 0).all() for own in drawn)
    assert ids(drawn) == ids(draw("set", [other, one], 50, None, 7))
    assert ids(drawn) != ids(draw("set", [one, other], 50, None, 8))
    assert {*ids(draw("set", [one, other], 20, None, 7))} < {*ids(drawn)}


def test_every_set_has_equally_many_identities_of_equally_many_faces() -> None:
    sizes = np.repeat(np.arange(8), [3, 4, 5, 6, 7, 8, 9, 18])  # of 60 faces
    (drawn,) = draw("set", [source("one", sizes)], 20, 4, 7)
    people, counts = np.unique(drawn.identities[drawn.usable], return_counts=True)
    assert len(people) == 4 and (counts == 5).all()
    assert people.min() >= 2  # the first two have too few faces


def test_the_same_number_in_two_rounds_is_two_identities() -> None:
    people = np.arange(60) // 30
    drawn = draw("set", [source("one", people), source("other", people, seed=2)], 40, 4, 7)
    assert [len(own.usable) for own in drawn] == [20, 20]
    for own in drawn:
        assert np.unique(own.identities[own.usable], return_counts=True)[1].tolist() == [10, 10]


def test_an_identity_is_drawn_whatever_the_place_of_its_round() -> None:
    one, other = (source(name, np.arange(60) // 5, seed=at) for at, name in enumerate("ab", 1))
    assert ids(draw("s", [one, other], 30, 6, 7)) == ids(draw("s", [other, one], 30, 6, 7))


def test_what_cannot_be_met_is_refused_with_the_numbers() -> None:
    labelled = source("one", np.arange(60) // 5)
    with pytest.raises(InputError, match=r"sets: mine \(one\): 60 usable faces, 61 are asked for"):
        draw("mine", [labelled], 61, None, 7)
    with pytest.raises(InputError, match="12 identities of at least 5 usable faces, 13 are asked"):
        draw("mine", [labelled], 65, 13, 7)
    with pytest.raises(InputError, match="0 identities of at least 2 usable faces, 10 are asked"):
        draw("mine", [source("strangers", seed=2)], 20, 10, 7)
