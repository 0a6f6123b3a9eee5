"""Figures of the summary that no other file makes."""

from __future__ import annotations

import numpy as np

from eval.reporting.summary import lost_faces


def test_what_mining_loses_to_faces_that_are_not_found() -> None:
    with_parent = np.array([True, False, True, False, True])
    found = lost_faces(with_parent, np.array([True, False, False, True, False]))
    assert found == {
        "with_parent": {"rows": 3, "lost": 2},
        "of_the_prior": {"rows": 2, "lost": 1},
    }
    assert lost_faces(with_parent[:1], with_parent[:1]) == {}
