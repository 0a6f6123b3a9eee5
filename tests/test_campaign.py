"""A few cases of every part of the campaign (`make campaign` has all), so that it cannot rot."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifests.core.errors import InputError
from tests.campaign.__main__ import HEAD, SECTIONS, parse_cases, run_cases, summarise
from tests.campaign.corruptions import COUNT, DAMAGES, KINDS, draw
from tests.campaign.ground import STAGES, Ground, Outcome, build_reference, prepare

ROWS = 200  # four shards


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Ground:
    return build_reference(prepare(tmp_path_factory.mktemp("campaign") / "g", weights, ROWS))


def test_killed_builds_resume(ground: Ground) -> None:
    """By the group of its processes, by itself while it has workers, and one worker alone. On a
    fast machine a kill may come too late, but not every one."""
    outcomes = run_cases(ground, parse_cases(["kills:10", "kills:8", "kills:7"]))
    assert not [outcome for outcome in outcomes if outcome.faults]
    assert any(kill["alive"] for outcome in outcomes for kill in outcome.detail["kills"])


def test_damage_is_found(ground: Ground) -> None:
    outcomes = run_cases(ground, [("corruptions", at) for at in range(0, COUNT, 11)])
    assert not [outcome for outcome in outcomes if outcome.faults]
    report = SECTIONS["corruptions"].summary(ground, outcomes)
    assert report["corruptions"] == report["corruptions_detected"] > 20
    assert report["wrong_reads"] == report["unclear_errors"] == 0


def test_the_cases_reach_every_kind_of_file_in_every_way() -> None:
    drawn = [(case.stage, case.kind, case.damage) for case in map(draw, range(COUNT))]
    for stage in STAGES:
        pairs = {(kind, damage) for s, kind, damage in drawn if s == stage}
        assert pairs == {(kind, damage) for kind in KINDS[stage] for damage in DAMAGES}


@pytest.mark.parametrize("name", ["writers", "limits"])
def test_writers_and_limits(ground: Ground, name: str) -> None:
    (outcome,) = run_cases(ground, [(name, 0)])
    assert not outcome.faults


def test_the_report_begins_with_its_figures_and_names_what_failed(ground: Ground) -> None:
    kill = {"alive": True, "victim": "group", "progress": "shards", "lines": 1, "orphans": 0}
    damage = {"found": False, "read": "wrong", "swapped": False, "by_command": False}
    outcomes = [
        Outcome("kills:0", "", (), {"stage": "render", "kills": [kill]}),
        Outcome("kills:1", "", ("left over",), {"stage": "embed", "kills": [kill, kill]}),
        Outcome("corruptions:0", "", ("x",), {**damage, "kind": "ok", "damage": "empty"}),
        Outcome("builds:0", "2 workers", (), {"workers": 2, "render": "ab", "embed": "cd"}),
    ]
    report = summarise(ground, outcomes, 1.0)
    assert [report[name] for name in HEAD] == [3, 1, 1, 0, 1]
    assert [failed["case"] for failed in report["failed"]] == ["kills:1", "corruptions:0"]
    assert report["detail"]["builds"]["builds"] == {"2": True}


def test_one_case_is_repeated_by_its_name() -> None:
    assert parse_cases(["kills:17"]) == [("kills", 17)]
    assert len(parse_cases(list(SECTIONS))) > 300
    for word in ("kills:999", "kills:x", "sparks"):
        with pytest.raises(InputError):
            parse_cases([word])
