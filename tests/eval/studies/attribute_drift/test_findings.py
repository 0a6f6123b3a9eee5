"""Where the answer is known: halves of a set, and a copy of which the divergence is worked out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.attributes.divergence import kl_divergence
from eval.studies.attribute_drift.explanation import REAL
from eval.studies.attribute_drift.findings import by_hand, checks, find
from manifests.core.errors import InputError
from tests.eval.studies.attribute_drift.test_joint import ATTRIBUTES, YES, face_set, normal


@given(st.floats(0.01, 0.99))
def test_doubling_a_share_by_hand(share: float) -> None:
    """Two parts, a and 1 - a; in the copy 2 a / (1 + a) and (1 - a) / (1 + a)."""
    p = np.array([share, 1 - share])
    q = np.array([2 * share, 1 - share]) / (1 + share)
    there, back = by_hand(share)
    assert there == pytest.approx(float(kl_divergence(p, q)), abs=1e-12)
    assert back == pytest.approx(float(kl_divergence(q, p)), abs=1e-12)


def test_a_set_split_in_two_and_a_doubled_copy() -> None:
    found = checks(ATTRIBUTES[:2], face_set("s", *normal(1, 8000)))
    assert list(found) == ["across", "down"]
    for own in found.values():
        assert own["halves"]["ci95"][0] == 0.0
        assert 0 < own["halves"]["value"] < 2 * own["halves"]["null"]
        for way in ("set_copy", "copy_set"):
            both = own["doubled"][way]
            assert both["value"] == pytest.approx(both["by_hand"], rel=0.02)
            assert both["by_hand"] > 0.04


def test_a_binary_attribute_is_checked_too() -> None:
    told = np.repeat([0.1, 0.9], [600, 400])
    own = checks((YES,), face_set("s", told, kinds=(YES,)))["Smiling"]
    assert own["doubled"]["share"] == 0.4
    assert own["doubled"]["set_copy"]["by_hand"] == pytest.approx(np.log(1.4) - 0.4 * np.log(2))


def test_real_faces_that_cover_synthetic_ones_explain_them() -> None:
    a, b = normal(2, 600)
    real, synthetic = face_set("r", a, b), face_set("s", *(0.4 * v for v in normal(3, 5000)))
    found = find(ATTRIBUTES[:2], real, synthetic, strict=False)
    assert found["explanation"]["all"]["verdict"] == REAL
    assert found["explanation"]["num_faces"] == 600
    assert found["joint"]["explanation"]["num_faces"] == 600
    assert {gap["attribute"] for gap in found["lacking"]} == {"across", "down"}
    terms = [gap["kl_term"] for gap in found["lacking"]]
    assert terms == sorted(terms, reverse=True)


def test_what_cannot_be_compared_is_said_or_refused() -> None:
    a, b = normal(4, 200)
    real, synthetic = face_set("r", a, np.full(200, np.nan)), face_set("s", a, b)
    found = find(ATTRIBUTES[:2], real, synthetic, strict=False)
    assert found["not_compared"] == {"down": "defined on no face of r, 30 are needed"}
    assert (found["joint"], found["pairs"], found["lacking_together"]) == (None, [], [])
    with pytest.raises(InputError, match="attribute down: defined on no face of r, 30 are needed"):
        find(ATTRIBUTES[:2], real, synthetic, strict=True)
    nothing = find(ATTRIBUTES[1:2], real, synthetic, strict=False)
    assert nothing["explanation"] is None and nothing["attributes"] == {}
