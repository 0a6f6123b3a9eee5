"""What stored faces cost and save beside faces that are made for one step."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.reporting.break_even import BENCH, Rates, break_even, measured_rates
from manifests.core.errors import InputError
from manifests.core.files import write_json
from tests.fabricated_runs import make_costs


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_break_even_by_hand(workspace: Path) -> None:
    assert measured_rates(0.8) is None
    make_costs()
    rates = measured_rates(0.8)
    assert rates is not None
    assert (rates.render, rates.embed) == (40.0, 20.0)  # of 50 rendered a second 4 in 5 are usable
    seconds = {"gap@pool": 3.0, "mine@mined-1": 1.0, "render@pool": 2.0, "verify": 9.0}
    even = break_even(rates, seconds, num_faces=80, faces_seen=160, train_seconds=5.0)
    assert even.build_seconds == 2.0 + 4.0 + 4.0
    assert even.online_face_seconds == 1 / 40 + 1 / 40  # one view of two
    assert (even.faces, even.passes, even.students) == (200.0, 2.5, 1.25)
    assert even.offline(2) == 20.0 and even.online(2) == 26.0
    assert even.online(1) < even.offline(1)  # and one student is too few


@given(
    st.floats(1, 1e4), st.floats(1, 1e4), st.integers(1, 10**6), st.integers(1, 10**8),
    st.floats(0, 1e5), st.floats(0, 1e5),
)  # fmt: skip
def test_both_ways_cost_the_same_at_the_break_even(
    render: float, embed: float, faces: int, seen: int, other: float, train: float
) -> None:
    rates = Rates(render, embed, "drawn")
    even = break_even(
        rates, {"gap@pool": other}, num_faces=faces, faces_seen=seen, train_seconds=train
    )
    students = even.students
    offline = even.build_seconds + students * train
    online = students * (seen * even.online_face_seconds + train)
    assert offline == pytest.approx(online)
    assert 1.0 <= even.passes or other == 0.0


def test_rates_come_from_the_bench_where_there_is_one(workspace: Path) -> None:
    make_costs()
    flow = {"stages": {"workers": 2, "render_and_align_usable": 381.0, "embed_two_views": 214.1}}
    write_json(BENCH, {"flow": flow, "machine": {"cpus": 2}})
    rates = measured_rates(0.8)
    assert rates == Rates(381.0, 214.1, "reports/bench.json, 2 CPUs, 2 workers")
    write_json(BENCH, {"flow": {}})
    with pytest.raises(InputError, match=r"bench\.json: no rates of the flow in it"):
        measured_rates(0.8)
