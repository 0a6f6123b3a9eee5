"""Mining stops for one of two reasons, and says which."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.mining.regions import decide, expected_gain
from tests.pipeline.mining.toys import SETTINGS, region


def test_gain_by_hand() -> None:
    # The rest: (0.2 * 60 + 0.3 * 20) / 80 = 0.225. Hard: 20 faces, 0.275 above it, of 100.
    found = [
        region(0, 0.2, faces=60),
        region(1, 0.3, faces=20),
        region(2, 0.5, faces=20, hard=True),
    ]
    assert expected_gain(found) == pytest.approx(0.275 * 20 / 100)
    # A hard region gives as much as is believed of it, the rest is what it was measured to be.
    shrunk = [replace(r, shrunken_gap=0.4) if r.hard else r for r in found]
    assert expected_gain(shrunk) == pytest.approx(0.175 * 20 / 100)


def test_no_hard_region_stops() -> None:
    found = decide([region(0, 0.3), region(1, 0.4)], SETTINGS)
    assert found.stop and found.expected_gain == 0.0
    assert found.reason == "no region is significantly worse than the rest"


def test_too_little_to_gain_stops() -> None:
    regions = [region(0, 0.3), region(1, 0.4, hard=True)]  # 0.1 on half the faces
    found = decide(regions, replace(SETTINGS, least_gain=0.06))
    assert found.stop and found.expected_gain == pytest.approx(0.05)
    assert found.reason == "the expected gain 0.0500 is below mine.least_gain 0.06"


def test_enough_to_gain_goes_on() -> None:
    found = decide([region(0, 0.3), region(1, 0.4, hard=True)], replace(SETTINGS, least_gain=0.04))
    assert not found.stop and found.reason == ""


def test_as_published_nothing_stops() -> None:
    found = decide(
        [region(0, 0.3), region(1, 0.4)],
        replace(SETTINGS, law="dynamic-as-published", least_gain=1.0),
    )
    assert not found.stop and found.expected_gain == 0.0


def test_without_a_rest_or_without_faces_nothing_can_be_gained() -> None:
    assert expected_gain([region(0, 0.4, hard=True)]) == 0.0
    assert expected_gain([]) == 0.0
    assert expected_gain([region(0, 0.4, faces=0), region(1, 0.5, faces=0, hard=True)]) == 0.0


@given(
    st.lists(st.tuples(st.floats(0, 2), st.integers(0, 50), st.booleans()), min_size=1, max_size=8)
)
def test_gain_is_at_most_what_the_probe_has(parts: list[tuple[float, int, bool]]) -> None:
    regions = [region(i, gap, faces=n, hard=h) for i, (gap, n, h) in enumerate(parts)]
    total = sum(r.num_faces for r in regions)
    mean = sum(r.mean_gap * r.num_faces for r in regions) / total if total else 0.0
    assert 0.0 <= expected_gain(regions) <= mean + 1e-9
