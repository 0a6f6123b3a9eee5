"""A round as Croissant: it validates, its records load, and no text in a passport can break it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import mlcroissant
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifests.card import write_card
from manifests.cards.croissant import Json, Publication, describe
from manifests.cards.facts import RoundFacts, leaves, read_round
from manifests.core import layout
from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.core.files import read_json, write_json
from manifests.stores.latents import LatentManifest
from manifests.stores.passport import Fingerprint
from tests.toys import make_round

pytestmark = pytest.mark.filterwarnings(  # of libraries that mlcroissant calls
    "ignore:ConjunctiveGraph is deprecated:DeprecationWarning",
    "ignore:The inplace keyword in DataFrame.reset_index",
)
HOSTILE = [
    '"@id"',
    "@type",
    "](javascript:x)",
    "a\nb",
    "| x |",
    "<b>",
    "\\",
    "a\u2028b",
    "{{ 7*7 }}",
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_round("pool", 70, law="a law", parent_id=np.arange(70) + (1 << 61))
    return tmp_path


@pytest.fixture
def facts() -> RoundFacts:
    return read_round("pool")


def load(document: Json, folder: Path) -> mlcroissant.Dataset:
    write_json(folder / "croissant.json", document)
    return mlcroissant.Dataset(jsonld=folder / "croissant.json")


def nodes(value: Any) -> Iterator[Json]:
    """Every mapping within a document."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, (dict, list)):
            yield from nodes(item)


def with_texts(facts: RoundFacts, text: str) -> RoundFacts:
    """The round with `text` wherever its faces' passport may hold a text of its maker's."""
    values = {"name": text, "weights_sha256": text, "alignment": {"detector": text}}
    passport = replace(
        facts.faces.passport,
        round=text,
        failures={text: 3},
        fingerprint=Fingerprint(values | {f"key {text}": text}, {f"key {text}": text}),
        lineage={f"key {text}": [text]},
        licences={text: text},
    )
    return replace(facts, faces=replace(facts.faces, passport=passport))


def test_the_document_validates(facts: RoundFacts, folder: Path) -> None:
    context = load(describe(facts), folder).metadata.ctx
    assert context.conforms_to.value == "http://mlcommons.org/croissant/1.1"
    assert not context.issues.errors
    advised = sorted(warning.split('"')[1].split("/")[-1] for warning in context.issues.warnings)
    assert advised == ["citeAs", "datePublished", "version"]  # only a publisher knows them


def test_records_are_the_rows_of_the_manifest(facts: RoundFacts, folder: Path) -> None:
    records = list(load(describe(facts), folder).records("rows"))
    rows = LatentManifest.read(layout.manifest("pool")).table.to_pylist()
    assert len(records) == len(rows) == 70
    for record, row in zip(records, rows, strict=True):
        plain = {name: v.decode() if type(v) is bytes else v for name, v in record.items()}
        assert plain == {f"rows/{name}": value for name, value in row.items()}


@pytest.mark.parametrize("name", ["pool", "team/pool"])
def test_records_load_from_where_the_card_lies_and_from_a_copy(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name != "pool":
        shutil.move("data/pool", layout.faces(name).parent)
        layout.manifest(name).parent.mkdir()
        layout.manifest("pool").rename(layout.manifest(name))
    write_card(read_round(name), Publication(), layout.card(name))
    copy = folder / "a copy"
    for part in (layout.faces(name).parent, layout.manifest(name).parent):
        shutil.copytree(part, copy / part)
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    for root in (folder, copy):
        data = mlcroissant.Dataset(root / layout.card(name) / "croissant.json")
        assert len(list(data.records("rows"))) == 70


@pytest.mark.parametrize("out", [".", "cards/of pools", "data/pool/card"])
def test_every_path_is_taken_from_where_the_document_lies(facts: RoundFacts, out: str) -> None:
    write_card(facts, Publication(), Path(out))
    for node in read_json(Path(out) / "croissant.json")["distribution"]:
        path = node.get("contentUrl") or node["includes"].removesuffix("/**")
        assert (Path(out) / path).resolve() == Path(node["@id"]).resolve()
        assert (Path(out) / path).exists()


def test_every_file_of_the_round_is_in_the_distribution_once(facts: RoundFacts) -> None:
    listed = []
    for node in describe(facts)["distribution"]:
        if node["@type"] == "cr:FileObject":
            listed.append(node["contentUrl"])
            assert node["sha256"] == sha256_file(Path(node["contentUrl"]))
        else:
            pattern = node["includes"].removesuffix("/**")
            found = [p.as_posix() for p in Path(pattern).rglob("*") if p.is_file()]
            assert found
            listed += found
    stores = [p for p in Path("data").rglob("*") if p.is_file() and ".work" not in p.as_posix()]
    expected = [layout.manifest("pool").as_posix(), *(p.as_posix() for p in stores)]
    assert sorted(listed) == sorted(expected)


def test_every_fact_of_a_passport_is_stated(facts: RoundFacts) -> None:
    for store in facts.stores:
        (node,) = (
            node
            for node in describe(facts)["distribution"]
            if node["@id"] == f"{store.path}/passport.json"
        )
        stated = {pair["name"]: pair["value"] for pair in node["additionalProperty"]}
        assert stated == dict(leaves({"passport": asdict(store.passport)}))
        assert stated["passport.merkle_root"] == store.passport.merkle_root


def test_provenance_names_weights_and_inputs(facts: RoundFacts) -> None:
    passport = facts.teachers[0].passport
    made_by = Fingerprint({"name": "net", "weights_sha256": "12" * 32}, {})
    teacher = replace(facts.teachers[0], passport=replace(passport, fingerprint=made_by))
    document = describe(replace(facts, teachers=(teacher,)))
    faces, weights = document["prov:wasDerivedFrom"]
    assert "sha256" not in faces  # the toy's passport states none
    assert weights["sha256"] == "12" * 32 and weights["prov:label"] == "weights of net"
    rendering, embedding = document["prov:wasGeneratedBy"]
    assert {"@id": "manifests/rounds/pool.parquet"} in rendering["prov:used"]
    assert {"@id": "data/pool/faces.zarr/images"} in embedding["prov:used"]
    assert {"@id": weights["@id"]} in embedding["prov:used"]


def test_faces_are_called_synthetic_only_where_a_generator_made_them(folder: Path) -> None:
    assert describe(read_round("pool"))["rai:hasSyntheticData"] is True
    make_round("probe", 5, origin="imported")
    imported = describe(read_round("probe"))
    assert "rai:hasSyntheticData" not in imported
    assert "may be photographs" in " ".join(imported["rai:personalSensitiveInformation"])


def test_a_round_without_its_manifest_has_no_records(folder: Path) -> None:
    layout.manifest("pool").unlink()
    document = describe(read_round("pool"))
    assert not document["recordSet"] and "rai:hasSyntheticData" not in document
    assert "may be photographs" in document["rai:dataCollection"]
    assert not load(document, folder).metadata.ctx.issues.errors


def test_a_round_without_teacher_or_faces_validates(folder: Path) -> None:
    make_round("empty", 0)
    shutil.rmtree(layout.teacher("empty", "toy"))
    data = load(describe(read_round("empty")), folder)
    assert not data.metadata.ctx.issues.errors
    assert not list(data.records("rows"))


def test_no_text_can_change_the_structure(facts: RoundFacts) -> None:
    harmless = shape(describe(with_texts(facts, "harmless")))

    @given(st.text() | st.sampled_from(HOSTILE))
    def check(text: str) -> None:
        document = describe(with_texts(facts, text))
        assert shape(document) == harmless
        assert json.loads(json.dumps(document)) == document

    check()


def shape(document: Json) -> list[tuple[set[str], Any, Any]]:
    return [(set(node), node.get("@id"), node.get("@type")) for node in nodes(document)]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_validate_and_come_back(facts: RoundFacts, text: str, folder: Path) -> None:
    data = load(describe(with_texts(facts, text)), folder)
    assert not data.metadata.ctx.issues.errors
    works = [(work.name, work.description) for work in data.metadata.license]
    assert (f"Terms of {text}", text) in works
    assert len(list(data.records("rows"))) == 70


def test_what_a_publisher_knows_is_stated_only_when_given(facts: RoundFacts, folder: Path) -> None:
    given_by = Publication("https://example.org/pool", "2026-11-22", "A Laboratory", "1.0.0")
    metadata = load(describe(facts, given_by), folder).metadata
    assert (metadata.url, metadata.version) == ("https://example.org/pool", "1.0.0")
    assert metadata.date_published.isoformat()[:10] == "2026-11-22"
    assert metadata.creators[0].name == "A Laboratory"
    assert not {"url", "datePublished", "creator", "version"} & set(describe(facts))


@pytest.mark.parametrize(
    "values",
    [{"url": "data/pool"}, {"url": "https://a b"}, {"date": "today"}, {"date": "20261122"},
     {"version": "1"}, {"version": "1.0.x"}],
)  # fmt: skip
def test_malformed_publication_facts_are_refused(values: dict[str, str]) -> None:
    with pytest.raises(InputError, match="expected"):
        Publication(**values)
