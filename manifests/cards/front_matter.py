"""The YAML before a card's Markdown, by which the Hugging Face hub files what it describes.

The keys are those of huggingface/hub-docs' datasetcard.md and modelcard.md. What a passport says
stands in values only, on one line each, so that no text in it can end the block or add a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from manifests.cards.facts import RoundFacts
from manifests.cards.markdown import one_line, render

LICENCE = "LICENSE.md"  # the name that the hub looks for
NOT_OURS = {"license": "other", "license_name": "terms-of-what-it-was-made-with"}
TASK = "image-feature-extraction"
ABOUT = ("face-recognition", "face-verification", "knowledge-distillation")
SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B")


def front_matter(values: Mapping[str, Any]) -> str:
    """The block with its two rulers, in ASCII; keys in the order given."""
    text = yaml.safe_dump(_plain(values), sort_keys=False, width=1 << 20, allow_unicode=False)
    return f"---\n{text}---\n"


def of_round(facts: RoundFacts, more: Mapping[str, Any] | None = None) -> str:
    """The block of a round's datasheet. `more` are keys that only the writer of its files knows,
    such as `configs` with their places, and `license_link` where `terms` lie beside the card."""
    photographs = ("photographs-of-people",) if facts.real_faces else ()
    synthetic = () if facts.num_imported else ("synthetic",)
    return front_matter(
        {
            **NOT_OURS,
            "pretty_name": f"Facestill round {facts.name}",
            "task_categories": [TASK],
            "tags": [*ABOUT, *synthetic, *photographs],
            "size_categories": [size_category(facts.faces.passport.num_rows)],
            "annotations_creators": ["machine-generated"] if facts.teachers else ["no-annotation"],
            **(more or {}),
        }
    )


def size_category(num_rows: int) -> str:
    """The hub's own words for a number of rows: n<1K, 1K<n<10K, …, n>1B."""
    powers = [10 ** (3 + at) for at in range(len(SIZES))]
    above = sum(num_rows >= power for power in powers)
    if above == 0:
        return f"n<{SIZES[0]}"
    if above == len(SIZES):
        return f"n>{SIZES[-1]}"
    return f"{SIZES[above - 1]}<n<{SIZES[above]}"


def terms(what: str, licences: Sequence[tuple[str, str]]) -> str:
    """The Markdown of LICENCE: it is not ours to give `what` a licence of its own."""
    return render("terms.md.jinja", what=what, licences=licences)


def _plain(value: Any) -> Any:
    """What YAML has a form for; texts on one line."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return one_line(value) if isinstance(value, str) else value
