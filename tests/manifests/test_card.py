"""A round's card: the same bytes from the same stores, true, and proof against hostile texts."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from manifests.card import main
from manifests.cards.croissant import Publication
from manifests.cards.datasheets import datasheet
from manifests.cards.facts import RoundFacts, leaves, read_round
from manifests.cards.markdown import code, inline
from manifests.core import layout
from manifests.core.digests import folder_hashes
from manifests.core.errors import InputError
from manifests.core.files import read_json
from manifests.stores.passport import Passport
from pipeline.arrays.frames import ARCFACE112
from tests.manifests.cards.test_croissant import HOSTILE, with_texts
from tests.toys import make_round

SECTIONS = [
    "Motivation", "Composition", "Collection process", "Preprocessing", "Uses", "Distribution",
    "Maintenance",
]  # fmt: skip
NOBODY = Publication()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_round("pool", 70)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["card", *arguments])
    main()


def test_two_builds_in_two_folders_give_the_same_bytes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, "pool")
    first = folder_hashes(folder / "data/pool/card")
    assert set(first) == {"croissant.json", "DATASHEET.md"}
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    make_round("pool", 70)
    run(monkeypatch, "pool", "--out", str(Path.cwd() / "data/pool/card"))
    assert folder_hashes(Path("data/pool/card")) == first


def test_a_card_that_could_not_lead_to_its_round_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(folder.rglob("*"))
    with pytest.raises(InputError, match=r"outside of .*, such as --out \., and copy it"):
        run(monkeypatch, "pool", "--out", "../card")
    assert set(folder.rglob("*")) == before


def test_a_card_beside_a_card_changes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, "pool")
    first = folder_hashes(folder / "data/pool/card")
    run(monkeypatch, "pool")
    assert folder_hashes(folder / "data/pool/card") == first


def test_a_card_names_no_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, "pool")
    for file in Path("data/pool/card").iterdir():
        assert str(folder) not in file.read_text() and str(Path.home()) not in file.read_text()


def test_the_sections_are_those_of_a_datasheet() -> None:
    lines = datasheet(read_round("pool"), NOBODY).splitlines()
    headings = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    assert headings[:-1] == SECTIONS and headings[-1].startswith("Appendix")


def test_every_fact_of_a_passport_is_stated() -> None:
    facts = read_round("pool")
    lines = datasheet(facts, NOBODY).splitlines()
    for store in facts.stores:
        for field, value in leaves(asdict(store.passport)):
            assert f"| {code(field)} | {code(value)} |" in lines


def test_counts_and_failures_are_stated() -> None:
    passport = read_round("pool").faces.passport
    failed = passport.num_rows - passport.num_ok
    text = datasheet(read_round("pool"), NOBODY)
    assert failed and f"{failed} of 70 rows have no usable face (no\\_face: {failed})" in text


def test_nothing_is_said_of_a_generator_that_its_passport_does_not_say() -> None:
    text = datasheet(read_round("pool"), NOBODY).lower()
    assert not [word for word in ("digiface", "dcgan", "dlib", "64 x 64") if word in text]


def test_the_frame_is_measured_by_the_fields_crop() -> None:
    text = datasheet(read_round("pool"), NOBODY).replace("\\", "")
    corner, extent = (ARCFACE112.left, ARCFACE112.top), ARCFACE112.extent
    assert f"(arcface112) has its corner at {corner} and sides of {extent}." in text


def test_imported_faces_are_not_called_rendered() -> None:
    make_round("theirs", 5, origin="imported")
    text = datasheet(read_round("theirs"), NOBODY)
    assert "5 faces were imported: they may be photographs of real people" in text
    assert "5 imported pictures" in text and "No camera" not in text and "Rendered" not in text


def test_a_round_without_its_manifest_says_so() -> None:
    layout.manifest("pool").unlink()
    text = datasheet(read_round("pool"), NOBODY)
    assert "There is no manifest beside these stores" in text
    assert "nothing shows how its faces came about" in text and "No camera" not in text


def test_the_probe_is_not_offered_for_training() -> None:
    make_round("probe", 5)
    assert "It must not be trained on." in datasheet(read_round("probe"), NOBODY)


def test_no_text_can_change_the_structure_of_the_datasheet() -> None:
    facts = read_round("pool")
    harmless = structure(facts, "harmless")

    @given(st.text(min_size=1) | st.sampled_from(HOSTILE))
    def check(text: str) -> None:
        assert structure(facts, text) == harmless

    check()


def structure(facts: RoundFacts, text: str) -> list[str]:
    """Blocks, cells and inline elements, apart from where code and plain text change places."""
    tokens = (
        MarkdownIt("commonmark").enable("table").parse(datasheet(with_texts(facts, text), NOBODY))
    )
    found = []
    for token in tokens:
        inner = {child.type for child in token.children or []} - {"text", "code_inline"}
        found.append(f"{token.type} {sorted(inner)}")
    return found


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_read_as_they_are(text: str) -> None:
    tokens = (
        MarkdownIt("commonmark")
        .enable("table")
        .parse(datasheet(with_texts(read_round("pool"), text), NOBODY))
    )
    cells = [
        "".join(child.content for child in token.children) for token in tokens if token.children
    ]
    assert " ".join(text.replace("\u2028", " ").split()) in cells


def test_a_hostile_passport_goes_through_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    store = layout.faces("pool")
    text = "\n".join(HOSTILE)
    replace(Passport.read(store), licences={"@id": text, text: "@graph"}).write(store)
    run(monkeypatch, "pool")
    document = read_json(Path("data/pool/card/croissant.json"))
    assert {work["description"] for work in document["license"]} >= {text, "@graph"}


@pytest.mark.parametrize(
    "name", ["../pool", "pool/..", "/etc", "..", ".", "", "a b", "po*l", "a//b"]
)
def test_names_that_lead_out_of_the_data_are_refused(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(folder.rglob("*"))
    with pytest.raises(InputError, match="a name has letters"):
        run(monkeypatch, name)
    assert set(folder.rglob("*")) == before


@pytest.mark.parametrize("name", ["a" * 121, "team/a" + "é" * 60])
def test_names_that_no_file_can_have_are_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="a name has at most 120 bytes; shorten it"):
        run(monkeypatch, name)
    with pytest.raises(InputError, match="a name has at most 120 bytes; shorten it"):
        run(monkeypatch, "pool", "--teacher", "t" * 300)


def test_another_teams_round_has_its_card_beside_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "data/team").mkdir()
    shutil.move(folder / "data/pool", folder / "data/team/pool")
    run(monkeypatch, "team/pool")
    assert (folder / "data/team/pool/card/croissant.json").exists()


def test_strange_names_within_a_round_are_refused() -> None:
    (layout.faces("pool") / "a b").touch()
    with pytest.raises(InputError, match="a b: a name in a store has letters"):
        read_round("pool")
    (layout.faces("pool") / "a b").unlink()
    store = layout.teacher("pool", "toy")
    store.rename(store.with_name("to [y].zarr"))
    with pytest.raises(InputError, match=r"teacher .to \[y\].: a store is called by"):
        read_round("pool")


@pytest.mark.parametrize("text", ["- a", "+", "---", "===", "1. a", "12) a", "# a", "> a", "    a"])
def test_a_value_at_the_beginning_of_a_line_begins_no_block(text: str) -> None:
    tokens = MarkdownIt("commonmark").parse(inline(text))
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert "".join(child.content for child in tokens[1].children or []) == text.strip()


def test_a_teacher_of_other_faces_is_left_out_unless_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.move(layout.teacher("pool", "toy"), "kept.zarr")
    make_round("pool", 70, seed=1)
    run(monkeypatch, "pool")
    without = folder_hashes(layout.card("pool"))
    shutil.move("kept.zarr", layout.teacher("pool", "other"))
    capsys.readouterr()
    run(monkeypatch, "pool")
    assert folder_hashes(layout.card("pool")) == without
    said = "data/pool/teachers/other.zarr: embeddings of other faces than are here, left out; "
    assert said + "`rm -r data/pool/teachers/other.zarr`" in capsys.readouterr().err
    with pytest.raises(InputError, match="made from faces"):
        run(monkeypatch, "pool", "--teacher", "other")


def test_a_stage_s_card_is_of_the_teacher_that_it_asks_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "pool")
    alone = folder_hashes(layout.card("pool"))
    shutil.copytree(layout.teacher("pool", "toy"), layout.teacher("pool", "earlier"))
    layout.teacher("pool", "interrupted").mkdir()
    run(monkeypatch, "pool", "--teacher", "toy")
    assert folder_hashes(layout.card("pool")) == alone
    assert not capsys.readouterr().err


def test_all_teachers_are_on_the_card() -> None:
    shutil.copytree(layout.teacher("pool", "toy"), layout.teacher("pool", "another"))
    facts = read_round("pool")
    assert [store.name for store in facts.teachers] == ["another", "toy"]
    assert "data/pool/teachers/another.zarr" in datasheet(facts, NOBODY)


def test_a_missing_round_and_wrong_options_end_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="does not exist"):
        run(monkeypatch, "absent")
    with pytest.raises(InputError, match="expected a date"):
        run(monkeypatch, "pool", "--date", "yesterday")
    with pytest.raises(InputError, match="see --help"):
        run(monkeypatch)


def test_what_a_publisher_gives_is_on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--url", "https://example.org/a_b", "--creator", "A | B", "--version", "1.0.0")
    run(monkeypatch, "pool", "--out", ".", *options)
    text = Path("DATASHEET.md").read_text()
    assert "`https://example.org/a_b`" in text and "Published by: A \\| B." in text
