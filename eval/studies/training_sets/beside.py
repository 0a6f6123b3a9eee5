"""What else is known of a training set: drift, leakage, quality of its identities, and cost.

Of all faces of its rounds, of which the study's students saw those drawn. Nothing is measured here
that another command measures: its tables and reports are read, and held to the stores by digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.attributes.coverage import FaceSet, check_comparable, compare, why_not
from manifests.core import layout
from manifests.core.costs import Cost
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.core.files import read_foreign_json
from manifests.records.attributes import MEASURED, AttributeTable
from manifests.stores.passport import Passport

MAKING = ("sample", "mine", "adopt", "render", "embed", "screen")  # what a round's faces cost
LARGEST = 1 << 28  # bytes of a report: the closest pairs of several teachers stand in one


@dataclass(frozen=True)
class Stores:
    """A set's rounds as they lie here: what a report of them must name."""

    roots: Mapping[str, frozenset[str]]  # by round: of its faces, and of what teachers said of them
    num_faces: int  # usable ones

    @classmethod
    def of(cls, rounds: Sequence[str]) -> Stores:
        passports = {name: [Passport.read(path) for path in layout.stores(name)] for name in rounds}
        return cls(
            {name: frozenset(own.merkle_root for own in all) for name, all in passports.items()},
            sum(all[0].num_ok for all in passports.values()),
        )


def faces_of(name: str, rounds: Sequence[str]) -> tuple[FaceSet | None, list[Path]]:
    """A set's measured attributes and the tables that hold them; None where a round has none.

    Raises InputError for a table of other faces than are here."""
    paths = [layout.attributes(round, MEASURED) for round in rounds]
    if not all(path.exists() for path in paths):
        return None, []
    tables = tuple(AttributeTable.read(path) for path in paths)
    for round, path, table in zip(rounds, paths, tables, strict=True):
        root = Passport.read(layout.faces(round)).merkle_root
        if table.source.digest != root:
            raise InputError(
                f"{path}: of faces {table.source.digest[:12]}, here are {root[:12]}; run "
                f"`facestill annotate {round}`"
            )
    return FaceSet(name, tables), paths


def drifts(real: FaceSet, sets: Mapping[str, FaceSet]) -> dict[str, dict[str, Any]]:
    """By set: Jensen-Shannon divergence from the photographs, in nats (0 to ln 2), of every
    attribute that all of them can be compared in, and the mean over those; empty where there is
    none. One list of attributes, so that the means of two sets are of the same."""
    every = [real, *sets.values()]
    for own in sets.values():  # two sets may share a round, which is nothing against either
        check_comparable([*real.tables, *own.tables])
    known = [own for own in real.tables[0].attributes if not why_not(own, every)]
    found = {}
    for name, own in sets.items() if known else ():
        values = {each.name: compare(each, real, own)["js"] for each in known}
        mean = float(np.mean([each["value"] for each in values.values()]))
        found[name] = {"attributes": values, "mean": mean}
    return found


def leakage_of(
    reports: Iterable[Path], sets: Mapping[str, Stores]
) -> tuple[dict[str, Any], dict[str, str]]:
    """({set: by teacher the shares of faces that match a photograph above the report's threshold,
    and of photographs that match another person's so}, {report: digest}).

    Raises InputError for a report of none of the sets, for a second one of a set, and for one of
    other faces than are here.
    """
    found: dict[str, Any] = {}
    digests = {}
    for path in reports:
        report = read_foreign_json(path, LARGEST, "run `facestill leakage` again")
        try:
            name = _set_of(path, report["rounds"], sets)
            if name in found:
                raise InputError(f"{path}: a second report on {name}; name one under leakage")
            teachers = report.get("teachers") or {report["teacher"]["name"]: report}
            found[name] = {
                "photographs": str(report["photographs"]),
                "teachers": {
                    teacher: {
                        who: own["best_match"][who]["above_threshold"]
                        for who in ("synthetic", "real_other_person")
                        if own["best_match"].get(who)
                    }
                    for teacher, own in teachers.items()
                },
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: not a report of `facestill leakage` ({error})") from None
        digests[path.as_posix()] = sha256_file(path)
    return found, digests


def _set_of(path: Path, rounds: Mapping[str, str], sets: Mapping[str, Stores]) -> str:
    names = [name for name, own in sets.items() if {*own.roots} == {*rounds}]
    if not names:
        raise InputError(
            f"{path}: of {', '.join(rounds)}, the rounds of no set; leave it out of leakage"
        )
    for round, root in rounds.items():
        if root not in sets[names[0]].roots[round]:
            raise InputError(
                f"{path}: of other stores of {round} ({root[:12]}); run `facestill leakage` again"
            )
    return names[0]


def quality_of(path: Path, sets: Mapping[str, Stores]) -> tuple[dict[str, Any], dict[str, str]]:
    """({set: by judge the figures of the identities that were kept}, {report: digest}) of the
    sets that are of the judged round alone, as it lies here; empty without a report."""
    if not path.exists():
        return {}, {}
    report = read_foreign_json(path, LARGEST, "run `facestill quality` again")
    try:
        judged = {
            name: {
                judge: {"eer": own["kept"]["eer"], "fdr": own["kept"]["fdr"]}
                for judge, own in report["judges"].items()
            }
            for name, stores in sets.items()
            if [*stores.roots] == [report["round"]]
            and report["faces_root"] in stores.roots[report["round"]]
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a report of `facestill quality` ({error})") from None
    return judged, {path.as_posix(): sha256_file(path)} if judged else {}


def cost_of(rounds: Sequence[str], stores: Stores, costs: Iterable[Cost]) -> dict[str, Any] | None:
    """Wall seconds that making the rounds took here, and for 1,000 usable faces; None where a
    round was made elsewhere. Of work done twice the last counts."""
    last = {(own.round, own.stage): own.seconds for own in costs if own.stage in MAKING}
    if not all(any(round == name for round, _ in last) for name in rounds):
        return None
    seconds = sum(value for (round, _), value in last.items() if round in rounds)
    each = 1000 * seconds / stores.num_faces if stores.num_faces else None
    return {"seconds": seconds, "seconds_a_thousand": each}
