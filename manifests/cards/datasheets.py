"""A round's datasheet: Markdown behind the front matter by which the hub files it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from manifests.cards import statements
from manifests.cards.croissant import Publication
from manifests.cards.facts import RoundFacts, leaves
from manifests.cards.front_matter import of_round
from manifests.cards.markdown import render

TEMPLATE = "datasheet.md.jinja"


def stated(record: Any) -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of all that a passport or recipe holds."""
    return leaves(asdict(record))


def datasheet(
    facts: RoundFacts, publication: Publication, more: Mapping[str, Any] | None = None
) -> str:
    """The whole file; every value that it shows is escaped. `more`: keys of the front matter."""
    return f"{of_round(facts, more)}\n{body(facts, publication)}"


def body(facts: RoundFacts, publication: Publication) -> str:
    """It without its front matter."""
    return render(TEMPLATE, round=facts, publication=publication, say=statements, stated=stated)
