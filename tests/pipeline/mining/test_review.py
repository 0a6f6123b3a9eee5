"""What a reviewer reads of a round, to the letter."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.mining.guards import Drift
from pipeline.mining.proposals import Proposals
from pipeline.mining.regions import Decision
from pipeline.mining.review import LISTED, mining_facts, review
from tests.pipeline.mining.toys import SETTINGS, pool, region

HARD = replace(region(1, 0.5, faces=25, hard=True), shrunken_gap=0.45)
REGIONS = [region(0, 0.2), HARD, region(2, 0.3)]
LINKS = {"gaps": "start", "student_sha256": "ab" * 32}
ROUND = {"round": "mined-1", "rows": 5, "digest": "0123456789abcdef" * 4}


def proposals() -> Proposals:
    parent = np.array([1, -1, 1, 7, -1])  # of pool(): 1 and 7 lie in region 1
    drift = Drift(0.98765432, 0.12345678, 1.8, 1.0)
    return Proposals(np.zeros((5, 20)), parent, np.zeros(5), drift, 3)


def mined_facts() -> dict:
    return mining_facts(REGIONS, Decision("", 0.05), proposals(), pool(), SETTINGS)


def test_facts_of_a_mined_round() -> None:
    facts = mined_facts()
    counts = {
        name: facts[name] for name in ("mined", "prior", "parents", "near_duplicates_rejected")
    }
    assert counts == {"mined": 3, "prior": 2, "parents": 2, "near_duplicates_rejected": 3}
    assert facts["stopped"] is None
    assert (facts["num_regions"], facts["num_hard_regions"]) == (3, 1)
    assert facts["probe_gap"] == {"hard": 0.5, "all": 0.3}  # (0.2*50 + 0.5*25 + 0.3*50) / 125
    assert facts["drift"]["spread"] == 0.98765
    assert facts["settings"]["law"] == "dynamic"
    assert [row["region"] for row in facts["hardest_regions"]] == [1, 2, 0]
    assert [row["children"] for row in facts["hardest_regions"]] == [3, 0, 0]
    json.dumps(facts, allow_nan=False)


def test_only_the_hardest_regions_are_listed_equal_ones_by_number() -> None:
    regions = [region(i, 0.3) for i in range(40)]
    facts = mining_facts(regions, Decision("none", 0.0), None, pool(), SETTINGS)
    assert [row["region"] for row in facts["hardest_regions"]] == list(range(LISTED))


def test_text_of_a_mined_round() -> None:
    text = review({**ROUND, "mining": LINKS | mined_facts()})
    assert text.splitlines() == [
        "mined-1: 5 latents, digest 0123456789ab, by dynamic from the gaps of start",
        "1 of 3 regions are significantly worse: gap 0.500, all 0.300; expected gain 0.0500",
        "3 mined of 2 parents, 2 of the prior, 3 near-duplicates rejected; spread 0.988, "
        "shift 0.123 of the pool's",
        "regions of mined-1, by their gap pulled towards the mean of all (shrinkage 4):",
        "region  probe faces  mean gap  pulled  95 % interval   p        children",
        "     1           25     0.500   0.450  [0.480, 0.520]  1.0e-03         3  hard",
        "     2           50     0.300   0.300  [0.280, 0.320]  5.0e-01         0",
        "     0           50     0.200   0.200  [0.180, 0.220]  5.0e-01         0",
    ]


def test_text_of_a_stopped_round() -> None:
    calm = [replace(r, hard=False) for r in REGIONS]
    decision = Decision("no region is significantly worse than the rest", 0.0)
    facts = mining_facts(calm, decision, None, pool(), SETTINGS)
    assert facts["stopped"] == decision.reason and "mined" not in facts
    text = review({**ROUND, "rows": 0, "mining": LINKS | facts})
    assert text.splitlines() == [
        "mined-1: 0 latents, digest 0123456789ab, by dynamic from the gaps of start",
        "0 of 3 regions are significantly worse: gap -, all 0.300; expected gain 0.0000",
        "mining stopped: no region is significantly worse than the rest",
    ]


@pytest.mark.parametrize("name", ["pool", "identities"])
def test_text_of_a_round_that_was_not_mined(name: str) -> None:
    summary = {**ROUND, "round": name, "origins": {"prior": 5}}
    assert review(summary) == f"{name}: 5 latents, not mined"


def test_text_of_a_mined_round_without_a_record() -> None:
    summary = {**ROUND, "origins": {"mined": 5}}
    assert review(summary) == "mined-1: 5 latents, mined, why is not recorded"
