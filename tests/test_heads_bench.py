"""The benchmark of margin heads in tiny sizes, so that it cannot rot."""

from __future__ import annotations

import pytest

from tests.bench import heads


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"IDENTITIES": 300, "WIDTH": 16, "BATCH": 32, "LEARNT": 60, "PIXELS": 24}
    for name, size in {**sizes, "GKD_IDENTITIES": 400}.items():
        monkeypatch.setattr(heads, name, size)


def test_a_step_has_its_price() -> None:
    assert set(heads.cost(0.3)) == {"peak_mb", "cpu_seconds_a_step"}


def test_a_sample_of_all_is_exact_and_loses_more_than_a_share() -> None:
    found = heads.exactness()
    assert found["rate_1"]["gradient_cosine"] == 1.0
    losses = [found[name]["loss"] for name in ("rate_1", "rate_0.3", "rate_0.1")]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_people_are_learnt(rate: float) -> None:
    assert heads.trained(rate)["own_identity_first"] > 0.5


def test_the_group_is_the_released_one() -> None:
    for alignment in (0.0, 0.9):
        found = heads.group_sizes(alignment)
        assert found["released"] == found["default"]
