"""Datasheets: a round's facts as Markdown, for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from manifests.cards import statements
from manifests.cards.croissant import Publication
from manifests.cards.facts import RoundFacts, leaves
from manifests.cards.markdown import render

TEMPLATE = "datasheet.md.jinja"


def stated(record: Any) -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of all that a passport or recipe holds."""
    return leaves(asdict(record))


def datasheet(facts: RoundFacts, publication: Publication) -> str:
    """The Markdown datasheet; every value that the template shows is escaped."""
    return render(TEMPLATE, round=facts, publication=publication, say=statements, stated=stated)
