"""How a block is taught, and the double switch before photographs of people."""

from __future__ import annotations

from pathlib import Path

import pytest

from manifests.core.errors import InputError
from manifests.settings.adaptation import Adaptation, Origin, load_adaptation

WHOSE = "our own faces, all of us agreed"


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "adapt.yaml"
    path.write_text("epochs: 5\nmargin: 1.5\n")
    assert load_adaptation(path) == Adaptation(epochs=5, margin=1.5)
    assert load_adaptation(None) == Adaptation()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 5", "unknown key 'epoch'"),
        ("margin: 2.5", "margin: 2.5, expected more than 0 and at most 2"),
        ("people: 1", "people: 1, expected"),
        ("epochs: 3\nwarmup_epochs: 3", "warmup_epochs 3, expected less than epochs 3"),
    ],
)
def test_what_no_run_can_have_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "adapt.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_adaptation(path)


def test_pictures_are_stated_to_be_synthetic_or_real() -> None:
    assert Origin("DCGAN", None, False, "CC0").statement == "DCGAN"
    assert Origin(None, WHOSE, True, "ours").statement == WHOSE


@pytest.mark.parametrize(
    ("source", "real", "allow"),
    [
        (None, None, False),  # nothing is said
        (None, None, True),  # the switch alone
        (None, WHOSE, False),  # whose they are alone
        ("DCGAN", WHOSE, True),  # both
        ("DCGAN", None, True),
        (None, " ", True),
    ],
)
def test_photographs_need_both_switches_and_nothing_else(
    source: str | None, real: str | None, allow: bool
) -> None:
    with pytest.raises(InputError):
        Origin(source, real, allow, "CC0")


@pytest.mark.parametrize("licence", ["", "two\nlines", "x" * 201])
def test_a_licence_is_one_line(licence: str) -> None:
    with pytest.raises(InputError, match=r"--licence .* expected one line"):
        Origin("DCGAN", None, False, licence)
