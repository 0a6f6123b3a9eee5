"""The hub's view of an export: what its own client reads is what the card says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard as HubCard
from hypothesis import given
from hypothesis import strategies as st

from manifests.cards.hub import readme
from manifests.core.files import read_json
from manifests.model_card import MARKDOWN, gather, write_card
from manifests.records.exports import FLOAT, INT8
from tests.exports import RENDERED, WEIGHTS_SHA256, toy_export
from tests.manifests.test_model_card import INT8_SHA256, result

FOLDER = Path("runs/exports/start")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read() -> HubCard:
    return HubCard.load(FOLDER / "README.md")


def test_the_readme_is_the_card_behind_its_front_matter() -> None:
    toy_export(FOLDER)
    write_card(FOLDER)
    assert read().text.strip() == (FOLDER / MARKDOWN).read_text().strip()
    said = read().data.to_dict()
    assert (said["license"], said["license_link"]) == ("other", "LICENSE.md")
    assert (said["library_name"], said["pipeline_tag"]) == ("onnx", "image-feature-extraction")
    assert "synthetic" in said["tags"] and "model-index" not in said
    assert "research only" in (FOLDER / "LICENSE.md").read_text()
    assert read_json(FOLDER / "config.json")["files"][FLOAT]["num_bytes"] == len(FLOAT)


def test_every_figure_of_a_verification_is_a_result_of_the_index() -> None:
    toy_export(FOLDER)
    both = [result("a", WEIGHTS_SHA256), result("b", INT8_SHA256, seed=1)]
    write_card(FOLDER, both)
    found = {(own.metric_name, own.metric_value) for own in read().data.eval_results}
    expected = set()
    for folder, file in zip(both, (FLOAT, INT8), strict=True):
        said = read_json(folder / "metrics.json")
        names = {"accuracy": "accuracy", "auc": "roc_auc", "eer": "equal_error_rate"}
        expected |= {(f"{their} of {file}", said[own]) for own, their in names.items()}
    assert found == expected
    assert {own.dataset_revision for own in read().data.eval_results} == {
        read_json(both[0] / "metrics.json")["protocol_sha256"]
    }


def test_photographs_of_people_are_filed_as_such() -> None:
    real = replace(RENDERED, num_imported=RENDERED.num_rows, real_faces="volunteers")
    toy_export(FOLDER, stores=(real,))
    write_card(FOLDER)
    tags = read().data.tags
    assert "photographs-of-people" in tags and "synthetic" not in tags


def test_no_text_of_others_adds_a_key() -> None:
    toy_export(FOLDER)
    card = gather(FOLDER, [result("own", WEIGHTS_SHA256)])
    (own,) = card.verifications
    keys = HubCard(readme(card, "")).data.to_dict().keys()

    @given(st.text() | st.sampled_from(["---", "a\n---\nlicense: mit", "\x85", "{{ x }}"]))
    def check(text: str) -> None:
        theirs = replace(own, figures=replace(own.figures, benchmark=text))
        hostile = replace(card, export=replace(card.export, run=text), verifications=(theirs,))
        said = HubCard(readme(hostile, "")).data.to_dict()
        assert said.keys() == keys and said["license"] == "other"

    check()
