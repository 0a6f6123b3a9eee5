"""When mining is done: nothing is significantly worse than the rest, or too little to gain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from manifests.settings.params import Mine
from pipeline.mining.regions import Region


@dataclass(frozen=True)
class Decision:
    """`reason` is empty where mining goes on."""

    reason: str
    expected_gain: float  # fall of the probe's mean gap if hard regions became like the rest

    @property
    def stop(self) -> bool:
        return bool(self.reason)


def decide(regions: Sequence[Region], settings: Mine) -> Decision:
    """Stops where no region is hard, or where the expected gain is below `least_gain`."""
    gain = expected_gain(regions)
    if not any(region.hard for region in regions):
        return Decision("no region is significantly worse than the rest", 0.0)
    if gain < settings.least_gain:
        return Decision(
            f"the expected gain {gain:.4f} is below mine.least_gain {settings.least_gain:g}", gain
        )
    return Decision("", gain)


def expected_gain(regions: Sequence[Region]) -> float:
    """The most that hard regions can give: sum of (shrunken gap - mean of the rest), weighted by
    their share of the probe. New faces help the rest as well, which prior faces would, too."""
    total = sum(region.num_faces for region in regions)
    rest = [region for region in regions if not region.hard]
    num_rest = sum(region.num_faces for region in rest)
    if not total or not num_rest:
        return 0.0
    level = sum(region.mean_gap * region.num_faces for region in rest) / num_rest
    excess = (max(r.shrunken_gap - level, 0.0) * r.num_faces for r in regions if r.hard)
    return sum(excess) / total
