"""Front matter: the hub's own client reads it as it was meant, whatever texts it holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from huggingface_hub import DatasetCard
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from manifests.cards.croissant import Publication
from manifests.cards.datasheets import datasheet
from manifests.cards.facts import RoundFacts, read_round
from manifests.cards.front_matter import LICENCE, front_matter, size_category, terms
from manifests.cards.markdown import one_line
from manifests.stores.passport import Fingerprint
from tests.manifests.cards.test_croissant import HOSTILE, with_texts
from tests.toys import make_round


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> RoundFacts:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("round"))
        make_round("pool", 70)
        return read_round("pool")


def test_the_hub_files_a_rendered_round_as_synthetic_faces(facts: RoundFacts) -> None:
    card = DatasetCard(datasheet(facts, Publication()))
    said = card.data.to_dict()
    assert (said["license"], said["pretty_name"]) == ("other", "Facestill round pool")
    assert said["size_categories"] == ["n<1K"]
    assert said["annotations_creators"] == ["machine-generated"]
    assert "synthetic" in said["tags"] and "license_link" not in said
    assert card.text.startswith("\n# Datasheet of round pool\n")


def test_it_files_photographs_as_such(facts: RoundFacts) -> None:
    said = Fingerprint({"name": "photographs", "real_faces": "volunteers"}, {})
    passport = replace(facts.faces.passport, fingerprint=said)
    real = replace(facts, faces=replace(facts.faces, passport=passport), manifest=None)
    tags = DatasetCard(datasheet(real, Publication())).data.tags
    assert "photographs-of-people" in tags and "synthetic" not in tags


def test_who_writes_the_files_says_where_they_are(facts: RoundFacts) -> None:
    places = [{"config_name": "default", "data_files": [{"split": "train", "path": "*.parquet"}]}]
    more = {"configs": places, "license_link": LICENCE}
    said = DatasetCard(datasheet(facts, Publication(), more)).data.to_dict()
    assert (said["configs"], said["license_link"]) == (places, LICENCE)


@given(st.text() | st.sampled_from([*HOSTILE, "---", "a\n---\nb: 1", "no", "1e3", "\x85---\x85"]))
def test_any_text_stays_the_value_that_it_is(text: str) -> None:
    block = front_matter({"first": text, "within": [{"a": text}], "last": 1.5})
    assert block.isascii() and block.count("\n---\n") == 1 and block.endswith("\n---\n")
    said = yaml.safe_load(block.removeprefix("---\n").removesuffix("---\n"))
    assert said == {"first": one_line(text), "within": [{"a": one_line(text)}], "last": 1.5}


@pytest.mark.parametrize(
    ("rows", "category"),
    [
        (0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (16_384, "10K<n<100K"),
        (10**9 - 1, "100M<n<1B"), (10**9, "n>1B"),
    ],
)  # fmt: skip
def test_sizes_are_in_the_hubs_words(rows: int, category: str) -> None:
    assert size_category(rows) == category


@pytest.mark.parametrize("text", HOSTILE)
def test_terms_are_shown_as_they_are(facts: RoundFacts, text: str) -> None:
    licences = with_texts(facts, text).licences
    tokens = MarkdownIt("commonmark").enable("table").parse(terms(f"round {text}", licences))
    rows = [token for token in tokens if token.type == "tr_open"]
    assert len(rows) == 1 + len(licences)
    shown = ["".join(child.content for child in token.children or ()) for token in tokens]
    assert f"Terms of round {' '.join(text.split())}" in shown
    assert {one_line(own) for _, own in licences} <= set(shown)
