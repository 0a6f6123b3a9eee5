"""Who is in a picture, as far as its name tells."""

from __future__ import annotations

import pytest

from manifests.core.errors import InputError
from manifests.photographs.scores import subject_of


@pytest.mark.parametrize(
    ("name", "rule", "subject"),
    [
        ("p0001/0002.jpg", "folder", "p0001"),
        ("African/m.01/m.01_0001.jpg", "folder", "African/m.01"),
        ("Ada_Lovelace_0003.jpg", "stem", "Ada_Lovelace"),
        ("x/Ada_0003.jpg", "stem", "x/Ada"),
        ("Ada.jpg", "stem", "Ada"),
        ("p0001/0002.jpg", "image", "p0001/0002.jpg"),
        ("3", "image", "3"),
    ],
)
def test_the_rule_says_whose_face_an_image_shows(name: str, rule: str, subject: str) -> None:
    assert subject_of(name, rule) == subject


def test_an_unknown_rule_is_answered_with_the_valid_ones() -> None:
    with pytest.raises(InputError, match="valid names: folder, image, stem"):
        subject_of("a/1.jpg", "surname")
