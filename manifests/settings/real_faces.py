"""Photographs of people: the double switch without which nothing is trained on them.

The data say it: the passport of a round of photographs states whose they are and who agreed.
params.yaml says it: `real_faces` allows it, and repeats that statement. Both are held against each
other where trainers open a round (manifests.stores.rounds: require_trainable).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifests.core.errors import InputError
from manifests.core.parsing import parse_fields

ROUND = "real-faces"  # of a user's own photographs
WHERE = "params.yaml: real_faces"
NO_FOLDER = "no folder of real faces is named under real_faces"


@dataclass(frozen=True)
class RealFaces:
    """Photographs of people: round real-faces, and what may be trained on."""

    folder: str | None = None  # in it a folder a person
    allow: bool = False  # the switch, beside the folder
    statement: str | None = None  # whose faces they are, and who agreed; in every passport and card
    licence: str | None = None
    frame: str | None = None  # that the images are cut to; null: faces are to be detected

    @classmethod
    def parsed(cls, value: Any, where: str) -> RealFaces:
        """Raises InputError also for a folder without the switch, or the switch without one."""
        found: RealFaces = parse_fields(cls, value, where)
        found.check(where)
        return found

    def check(self, where: str = WHERE) -> None:
        """Raises InputError unless folder, switch, statement and licence are all said, or no
        folder and no switch."""
        if self.folder is not None and not self.allow:
            raise InputError(
                f"{where}: folder {self.folder} without allow: true; students are trained on "
                "photographs of people only where both are said"
            )
        if self.folder is None and self.allow:
            raise InputError(
                f"{where}: allow: true without a folder; name one, or say allow: false"
            )
        if self.folder is not None and not (self.statement and self.licence):
            raise InputError(
                f"{where}: say in statement whose faces those of {self.folder} are and who agreed "
                "to it, and under which licence; passports and model cards repeat both"
            )

    def shares(self, place: Path) -> bool:
        """Whether what lies at `place`, or behind a link in it, is of the folder, or holds it."""
        if self.folder is None:
            return False
        own = Path(self.folder).expanduser().resolve()
        places = [place, *(place.iterdir() if place.is_dir() else ())]
        found = [each.resolve() for each in places]
        return any(each.is_relative_to(own) or own.is_relative_to(each) for each in found)

    @property
    def allowed(self) -> str | None:
        """What a round of photographs must state to be trained on; None: none may be."""
        return self.statement if self.allow else None
