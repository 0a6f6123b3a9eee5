"""The 47 binary attributes of MAAD-Face, as the names that a table of labels may use.

Terhörst et al., "MAAD-Face: A Massively Annotated Attribute Dataset for Face Images", IEEE TIFS
16, 2021. Beside each name stands what people found when they checked its labels: accuracy,
precision and recall. No head can be told to be better than the labels that it learnt from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class LabelQuality:
    """Of MAAD-Face's own labels, against people."""

    accuracy: float
    precision: float
    recall: float


GROUPS: dict[str, dict[str, tuple[float, float, float]]] = {
    "demographics": {
        "Male": (0.99, 0.98, 1.0), "Young": (0.99, 1.0, 0.98), "Middle Aged": (0.93, 0.98, 0.89),
        "Senior": (0.97, 0.96, 0.98), "Asian": (0.90, 0.88, 0.92), "White": (0.89, 1.0, 0.82),
        "Black": (0.94, 0.90, 0.98),
    },
    "skin": {"Rosy Cheeks": (0.99, 0.98, 1.0), "Shiny Skin": (0.77, 0.84, 0.74)},
    "hair": {
        "Bald": (0.96, 0.92, 1.0), "Wavy Hair": (0.99, 1.0, 0.98),
        "Receding Hairline": (0.77, 0.54, 1.0), "Bangs": (0.98, 0.96, 1.0),
        "Sideburns": (0.93, 0.88, 0.98), "Black Hair": (0.98, 0.96, 1.0),
        "Blond Hair": (1.0, 1.0, 1.0), "Brown Hair": (0.97, 0.94, 1.0),
        "Gray Hair": (0.95, 0.90, 1.0),
    },
    "beard": {
        "No Beard": (0.98, 1.0, 0.96), "Mustache": (0.98, 0.98, 0.98),
        "5 o'Clock Shadow": (0.97, 0.94, 1.0), "Goatee": (0.95, 0.90, 1.0),
    },
    "face geometry": {
        "Oval Face": (0.81, 0.90, 0.76), "Square Face": (0.80, 0.78, 0.81),
        "Round Face": (0.69, 0.56, 0.76), "Double Chin": (0.94, 0.88, 1.0),
        "High Cheekbones": (0.92, 0.92, 0.92), "Chubby": (0.94, 0.88, 1.0),
        "Obstructed Forehead": (0.91, 0.94, 0.89), "Fully Visible Forehead": (0.80, 0.75, 1.0),
    },
    "periocular": {
        "Brown Eyes": (0.68, 0.44, 0.85), "Bags Under Eyes": (0.68, 0.40, 0.91),
        "Bushy Eyebrows": (0.95, 0.94, 0.96), "Arched Eyebrows": (1.0, 1.0, 1.0),
    },
    "mouth": {
        "Mouth Closed": (0.84, 0.80, 0.87), "Smiling": (0.95, 1.0, 0.91),
        "Big Lips": (0.70, 0.50, 0.83),
    },
    "nose": {"Big Nose": (0.97, 0.98, 0.96), "Pointy Nose": (0.88, 0.88, 0.88)},
    "accessories": {
        "Heavy Makeup": (0.98, 0.98, 0.98), "Hat": (0.92, 0.84, 1.0),
        "Earrings": (0.83, 0.70, 0.95), "Necktie": (0.91, 0.84, 0.98),
        "Lipstick": (0.95, 0.90, 1.0), "No Eyewear": (0.98, 0.98, 0.98),
        "Eyeglasses": (0.90, 0.80, 1.0),
    },
    "other": {"Attractive": (1.0, 1.0, 1.0)},
}  # fmt: skip

LABEL_QUALITY = {
    name: LabelQuality(*figures) for group in GROUPS.values() for name, figures in group.items()
}
NAMES = tuple(LABEL_QUALITY)
# Words that some tables put before or after a name, and others leave out.
WORN = ("Hat", "Earrings", "Necktie", "Lipstick")
SHORT = ("Wavy Hair", "Blond Hair", "Brown Hair", "Gray Hair", "Oval Face", "Square Face",
         "Round Face")  # fmt: skip


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_KNOWN = {
    **{_key(name): name for name in NAMES},
    **{_key(f"Wearing {name}"): name for name in WORN},
    **{_key(name.rpartition(" ")[0]): name for name in SHORT},
}


def canonical(name: str) -> str | None:
    """The attribute that a column's heading names, whatever its case, spaces and underscores
    (5_o_Clock_Shadow, Wearing_Hat, Wavy); None for one that is none of the 47."""
    return _KNOWN.get(_key(name))
