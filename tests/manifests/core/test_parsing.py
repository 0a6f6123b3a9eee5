"""What was told before a key came is told so still."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from manifests.core.digests import canonical_json
from manifests.core.parsing import LATER, told
from manifests.settings.params import Params


@dataclass(frozen=True)
class Inner:
    old: int = 1
    new: float = field(default=0.5, metadata=LATER)


@dataclass(frozen=True)
class Outer:
    one: Inner
    several: tuple[Inner, ...]
    named: Mapping[str, Inner]


def test_a_later_field_is_told_where_it_says_something() -> None:
    said = Inner(new=0.25)
    found = told(Outer(Inner(), (Inner(), said), {"a": said, "b": Inner(old=0)}))
    short, long = {"old": 1}, {"old": 1, "new": 0.25}
    assert found == {"one": short, "several": [short, long], "named": {"a": long, "b": {"old": 0}}}


def test_without_later_fields_it_is_the_plain_values(params: Params) -> None:
    assert canonical_json(told(params.mine)) == canonical_json(asdict(params.mine))


def test_the_default_run_is_told_as_it_was(params: Params) -> None:
    """Else it would be trained again: what it is made from is hashed."""
    engine = params.train.engine
    assert {"beta2", "faces_an_identity"}.isdisjoint(told(engine))
    changed = replace(engine, beta2=0.999, faces_an_identity=4)
    assert told(changed) == told(engine) | {"beta2": 0.999, "faces_an_identity": 4}
    assert told(params.train.loss) == {"terms": [{"name": "standardised-mse", "weight": 1.0}]}
