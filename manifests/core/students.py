"""What a file of before states of a student: a checkpoint, an export's record, an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def in_todays_words(card: Mapping[str, Any]) -> dict[str, Any]:
    """The card by the names of today. Where it does not name its aligner it is of before others
    than dlib could be chosen, and its arcface112 was what is now dlib112: the region that the
    student was trained on."""
    if "aligner" in card:
        return dict(card)
    frame = {"frame": "dlib112"} if card.get("frame") == "arcface112" else {}
    return {**card, **frame, "aligner": "dlib"}
