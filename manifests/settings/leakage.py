"""What a search for repeated people asks: of the command's options, or of `leakage` in params."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manifests.core.bounds import PositiveInt, Share
from manifests.core.errors import InputError
from manifests.core.parsing import parse_fields


@dataclass(frozen=True)
class Leakage:
    """Photographs that rounds are held against, and how."""

    real: str  # orl, pairs:DIR or folder:DIR: what the generator was trained on
    rounds: tuple[str, ...] = ()  # (): those that the flow's runs learn from
    teachers: tuple[str, ...] = ()  # whose stores the rounds have; (): the one of params.yaml
    identities: bool = True  # folders are people; false: every photograph is of somebody else
    threshold_from: tuple[str, ...] = ()  # labelled photographs, or results of facestill verify
    frame: str | None = None  # that the photographs are cut to already
    pairs: PositiveInt = 100  # most alike pairs that are listed
    show_photographs: bool = False  # those pairs, on the page; never ORL's
    most_above: Share | None = None  # of the synthetic faces, above the teacher's threshold
    # of them, as alike to a photograph as half of a person's own pairs are
    most_alike: Share | None = None

    @classmethod
    def parsed(cls, value: Any, where: str) -> Leakage:
        """Of a gate. Raises InputError also for one that lets everything pass."""
        found: Leakage = parse_fields(cls, value, where)
        found.check(where)
        if found.most_above is None and found.most_alike is None:
            raise InputError(f"{where}: no limit; give most_above or most_alike, shares of faces")
        return found

    def check(self, where: str, option: str = "threshold_from") -> None:
        """Raises InputError for photographs without identities and no other scale, which `option`
        names."""
        if not self.identities and not self.threshold_from:
            raise InputError(
                f"{where}: without identities nobody can say how alike two people are; name "
                f"labelled photographs, or a result of facestill verify, with {option}"
            )
