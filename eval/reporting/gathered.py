"""All that the report is written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.reporting.curves import Roc
from eval.reporting.summary import RunLog
from manifests.core import layout
from manifests.core.files import read_json
from manifests.stores.rounds import RoundFiles


@dataclass(frozen=True)
class Results:
    """Opened, and proven to belong together."""

    chain: Sequence[RunLog]
    rounds: Mapping[str, RoundFiles]  # those of the last run, in order, and the probe
    curves: Sequence[Roc]
    summary: Mapping[str, Any]
    drift: Mapping[str, Any] | None = None  # reports/drift.json

    @property
    def mined(self) -> list[RoundFiles]:
        """Of the rounds that came later than the pool, those that mining made."""
        later = self.summary["gap_by_round"]
        return [self.rounds[name] for name in later if layout.regions(name).exists()]

    @property
    def first_mined(self) -> RoundFiles | None:
        """The first of those that holds a face; if none does, the first."""
        return next((files for files in self.mined if len(files.faces)), None) or next(
            iter(self.mined), None
        )

    @property
    def empty(self) -> dict[str, str]:
        """{mined round without a face: why}."""
        return {files.name: why_empty(files.name) for files in self.mined if not len(files.faces)}

    def added_by(self, name: str) -> int:
        """The place in the chain of the run that a round was made for."""
        return next(at for at, run in enumerate(self.chain) if name in run.rounds)

    @property
    def pool(self) -> RoundFiles:
        return self.rounds[self.chain[0].rounds[0]]


def why_empty(name: str) -> str:
    """Of a mined round without a face, as mining said it."""
    path = layout.manifest_summary(name)
    facts = read_json(path).get("mining", {}) if path.exists() else {}
    return facts.get("stopped") or "why is not recorded"
