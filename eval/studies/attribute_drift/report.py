"""Report what synthetic faces lack, attribute by attribute.

    facestill attribute-drift-report      -> reports/studies/attribute-drift.json

After Neto et al. (FG 2024). Tables of data/studies/attribute-drift and of the rounds, annotator
by annotator and set of photographs by set of photographs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from eval.annotators import load_annotator
from eval.attributes.coverage import (
    FaceSet,
    check_comparable,
    check_enough,
    check_stores,
    chosen,
    why_not,
)
from eval.attributes.divergence import SMOOTHING
from eval.attributes.head_files import load_heads
from eval.attributes.maad_face import NAMES
from eval.photos.photo_sets import is_photographs, may_show
from eval.reporting.drift_section import FACES_SHOWN, MOST_SHOWN, strip_of
from eval.studies.attribute_drift.figures import photograph_strip
from eval.studies.attribute_drift.findings import SEED, by_bins, checks, find
from eval.studies.attribute_drift.joint import METHOD
from eval.studies.attribute_drift.matrix import matrix
from eval.studies.attribute_drift.page import content_of
from eval.studies.attribute_drift.tables import (
    HEADS,
    NAME,
    check_names,
    check_study,
    is_table,
    members,
    sets_of,
    table_path,
    title_of,
)
from manifests.core import layout
from manifests.core.costs import timed
from manifests.core.errors import Parser, conclude, run_command
from manifests.core.files import read_json, write_json
from manifests.records.attributes import Attribute, AttributeTable
from manifests.settings.params import load_params
from manifests.settings.study import StudyReport, load_study
from manifests.stores.rounds import RoundFiles, open_round
from manifests.studies.attribute_drift import Study

TITLE = "Attribute drift: what synthetic faces lack"
FACES = layout.study_results(NAME) / "faces.json"
LISTS = ("lacking", "lacking_together")
Tables = Mapping[str, AttributeTable]  # by round, or photographs as params name them


def section(found: Mapping[str, Any]) -> dict[str, Any]:
    """What its template shows."""
    return content_of(found, read_json(FACES) if FACES.exists() else {})


def annotators_of(study: Study) -> list[str]:
    """The names of those that left tables; heads that are not good enough left none."""
    names = [load_annotator(text).name for text in study.annotators]
    if study.labels is not None and load_heads(HEADS)[1].used:
        names.append(load_annotator(f"heads:{HEADS}").name)
    return names


def tables_of(study: Study, annotator: str) -> Tables:
    """The tables of an annotator, by what the study calls them.

    Raises InputError for tables that cannot be compared.
    """
    made = {text: table_path(annotator, text) for text in members(study)}
    tables = {text: AttributeTable.read(path) for text, path in made.items()}
    for text in (text for own in sets_of(study).values() for text in own.faces if is_table(text)):
        table = AttributeTable.read(Path(text))
        if table.annotator.get("name") == annotator:
            tables[text] = table
    check_comparable(list(tables.values()))
    check_stores(list(tables.values()))
    return tables


def compared(study: Study, annotator: str, tables: Tables) -> dict[str, Any]:
    """What an annotator found."""
    synthetic = FaceSet("synthetic", tuple(tables[name] for name in study.rounds))
    known = tables[study.rounds[0]].attributes
    wanted = [name for name in study.attributes if name in {own.name for own in known}]
    attributes = chosen(known, wanted) if wanted or not study.attributes else []
    reals = [FaceSet(title_of(text), (tables[text],)) for text in study.real]
    check_enough([*reals, synthetic])
    strict = bool(study.attributes)
    sets = {real.name: find(attributes, real, synthetic, strict=strict) for real in reals}
    largest = max((tables[name] for name in study.rounds), key=len)
    return {
        "name": annotator,
        "synthetic": synthetic.facts()["sources"],
        "sets": sets,
        "matrix": matrix_of(study, attributes, tables),
        "checks": {
            "of": largest.source.name,
            "attributes": checks(attributes, FaceSet(largest.source.name, (largest,))),
        },
    }


def matrix_of(
    study: Study, attributes: Sequence[Attribute], tables: Tables
) -> dict[str, Any] | None:
    """Every set beside every other, of the attributes that all have, and of the sets whose tables
    are this annotator's; None where those are fewer than two, or nothing is on all of them."""
    every = sets_of(study)
    named = {name: own for name, own in every.items() if {*own.faces} <= {*tables}}
    sets = [FaceSet(name, tuple(tables[text] for text in own.faces)) for name, own in named.items()]
    reasons = {own.name: why_not(own, sets) for own in attributes}
    compared = [own for own in attributes if not reasons[own.name]]
    if len(sets) < 2 or not compared:
        return None
    coded = [by_bins(compared, faces) for faces in sets]
    kinds, names = [own.kind for own in named.values()], [own.name for own in compared]
    return {
        "sets": [
            faces.facts() | {"kind": kind, "faces": len(own.person), "people": len(own.people[1].T)}
            for faces, kind, own in zip(sets, kinds, coded, strict=True)
        ],
        "not_compared": {name: reason for name, reason in reasons.items() if reason},
        "left_out": [name for name in every if name not in named],
        **matrix(coded, kinds, names, np.random.default_rng(SEED)),
    }


def heads_of(study: Study) -> dict[str, Any] | None:
    """What the heads are good for; None without labels."""
    if study.labels is None:
        return None
    _, passport, sha256 = load_heads(HEADS)
    return asdict(passport) | {"sha256": sha256}


def example_strips(
    study: Study, found: Sequence[Mapping[str, Any]], rounds: Mapping[str, RoundFiles]
) -> dict[str, str]:
    """Pictures for the page, by annotator, set, list, place and side."""
    strips: dict[str, str | None] = {}
    texts = {title_of(text): text for text in study.real}
    for own in found:
        for title, finding in own["sets"].items():
            for kind in LISTS:
                for place, gap in enumerate(finding[kind][:MOST_SHOWN]):
                    key = f"{own['name']}/{title}/{kind}/{place}"
                    strips[f"{key}/synthetic"] = strip_of(gap["synthetic_examples"], rounds)
                    strips[f"{key}/real"] = photograph_strip(
                        gap["real_examples"], texts[title], FACES_SHOWN
                    )
    return {key: image for key, image in strips.items() if image is not None}


def not_measured(study: Study, found: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    missing = {
        f"{name} beside {title}": reason
        for own in found
        for title, finding in own["sets"].items()
        for name, reason in finding["not_compared"].items()
    }
    for own in found:
        for name in own["matrix"]["left_out"] if own["matrix"] else ():
            missing[f"{name} in the matrix of {own['name']}"] = (
                "its tables are of another annotator; annotate its faces by this one"
            )
    if study.labels is None:
        missing[f"the {len(NAMES)} attributes of MAAD-Face"] = (
            "no table of labelled faces is named (labels in params/studies/attribute-drift.yaml), "
            "and none comes with Facestill; so no head is trained, and their columns are empty"
        )
    elif not load_heads(HEADS)[1].used:
        missing["labelled attributes"] = "no head reached the floor on the people held out"
    if not any(map(may_show, study.real)):
        missing["real example faces"] = (
            "photographs are shown only of a folder that is named under real; ORL's never are"
        )
    return missing


def made_from(tables: Mapping[str, Tables], heads: Mapping[str, Any] | None) -> dict[str, str]:
    """Digests of all that was measured."""
    found = {
        _name_of(text): table.source.digest
        for own in tables.values()
        for text, table in own.items()
    }
    if heads is not None:
        found[heads["labels"]["name"]] = heads["labels"]["sha256"]
        found[HEADS.as_posix()] = heads["sha256"]
    return found


def _name_of(text: str) -> str:
    if is_photographs(text):
        return f"photographs {title_of(text)}"
    return f"faces of {text}" if is_table(text) else layout.faces(text).as_posix()


def main() -> None:
    Parser(__doc__).parse_args()
    study = load_study(NAME, Study)
    check_study(study)
    with timed(NAME):
        heads = heads_of(study)
        tables = {name: tables_of(study, name) for name in annotators_of(study)}
        check_names(study, [name for own in tables.values() for name in own[study.rounds[0]].names])
        found = [compared(study, name, own) for name, own in tables.items()]
        rounds = {name: open_round(name, load_params().teacher) for name in study.rounds}
        write_json(FACES, example_strips(study, found, rounds))
        StudyReport(
            study=NAME,
            params=asdict(study),
            made_from=made_from(tables, heads),
            found={
                "method": {"smoothing": SMOOTHING, "unit": "nats", "joint": METHOD},
                "annotators": found,
                "heads": heads,
            },
            not_measured=not_measured(study, found),
        ).write()
    for own in found:
        for title, finding in own["sets"].items():
            whole = finding["explanation"] and finding["explanation"]["all"]
            verdict = "nothing could be compared" if whole is None else whole["verdict"]
            print(f"{own['name']} beside {title}: {verdict}")
    conclude(layout.study_report(NAME), f"{len(found)} annotators", "facestill study-page")


if __name__ == "__main__":
    run_command(main)
