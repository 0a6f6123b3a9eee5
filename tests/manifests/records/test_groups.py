"""Groups by measured attributes: cases worked by hand, a slow twin, bad rules."""

from __future__ import annotations

import numpy as np
import pytest

from manifests.core.errors import InputError
from manifests.records.attributes import PHOTOGRAPHS, Attribute, AttributeTable, Source
from manifests.records.groups import Factor, groups_by
from tests import references

EDGES = (0.0, 0.5, 1.0)
KINDS = (
    *(Attribute(name, "", 0.0, 1.0, EDGES, name) for name in ("Asian", "Black", "White", "Male")),
    Attribute("skin angle", "degrees", -90.0, 90.0, (-90.0, 90.0), "light above"),
)


def table_of(values: np.ndarray) -> AttributeTable:
    images = tuple(f"{row}.png" for row in range(len(values)))
    source = Source(PHOTOGRAPHS, "pairs", "0" * 64)
    nobody = ("",) * len(images)
    return AttributeTable({"name": "toy"}, source, KINDS, values, None, images, nobody)


def grouped(values: np.ndarray, owner: list[int], *by: str) -> list[str]:
    factors = [Factor.parsed(text) for text in by]
    return groups_by(factors, table_of(values), np.array(owner), max(owner) + 1)


HAND = np.array([
    [1.0, 0.2, 0.1, 0.7, 50.0],
    [0.1, 0.6, 0.2, 0.2, 30.0],  # the same person in another light: 0.55, 0.4, 0.15; 0.45
    [0.2, 0.4, 0.3, 0.9, 10.0],  # no race is as likely as not
    [np.nan, np.nan, np.nan, np.nan, np.nan],  # no face was found
    [0.1, 0.2, 0.8, 0.5, 41.0],
], np.float32)  # fmt: skip
OWNER = [0, 0, 1, 2, 3]


def test_groups_by_hand() -> None:
    assert grouped(HAND, OWNER, "Asian,Black,White") == ["Asian", "", "", "White"]
    assert grouped(HAND, OWNER, "Male") == ["not Male", "Male", "", "Male"]
    assert grouped(HAND, OWNER, "Asian,Black,White", "Male") == [
        "Asian, not Male", "", "", "White, Male",
    ]  # fmt: skip
    assert grouped(HAND, OWNER, "skin angle<41") == [
        "skin angle below 41", "skin angle below 41", "", "skin angle from 41",
    ]  # fmt: skip


def test_groups_are_what_a_slow_count_gives() -> None:
    rng = np.random.default_rng(4)
    values = rng.random((300, 5)).astype(np.float32)
    values[rng.random(300) < 0.2] = np.nan
    owner = rng.integers(80, size=300).tolist()
    rules = ("Asian,Black,White", "Male", "skin angle<0.5")
    found = grouped(values, [*owner[:-1], 79], *rules)
    rows = dict(enumerate(values.tolist()))
    wanted = references.groups_by(rows, [*owner[:-1], 79], 80)
    assert found == wanted and len({*found}) > 8


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            "skin angle",
            r"by skin angle: it goes from -90 to 90, no probability; say .* 'skin angle<",
        ),
        ("Hat", "unknown attribute 'Hat'; there are Asian, Black"),
        ("Asian,,White", "groups by 'Asian,,White': expected names parted by commas"),
        ("Male,Male", "groups by 'Male,Male': expected names"),
        ("Asian,Black<0.2", "groups by 'Asian,Black<0.2': expected names"),
    ],
)
def test_a_rule_that_makes_no_groups_is_refused(rule: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        grouped(HAND, OWNER, rule)
