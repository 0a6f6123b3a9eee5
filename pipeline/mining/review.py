"""What a reviewer wants to know of a mined round: the facts for its summary, and the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from manifests.settings.params import Mine
from pipeline.mining.proposals import Pool, Proposals
from pipeline.mining.regions import Decision, Region

LISTED = 12  # regions, the hardest first
DIGITS = 5  # a summary is compared by people; the manifest has every bit


def mining_facts(
    regions: Sequence[Region],
    decision: Decision,
    proposals: Proposals | None,
    pool: Pool,
    settings: Mine,
) -> dict[str, Any]:
    """The `mining` part of a round's summary."""
    hard = [region for region in regions if region.hard]
    children = np.zeros(len(regions), int)
    facts: dict[str, Any] = {}
    if proposals is not None:
        home = pool.home[proposals.parent[proposals.mined]]
        children = np.bincount(home, minlength=len(regions))
        facts = {
            "mined": int(proposals.mined.sum()),
            "prior": int((~proposals.mined).sum()),
            "parents": len(np.unique(proposals.parent[proposals.mined])),
            "near_duplicates_rejected": proposals.num_rejected,
            "drift": {name: _short(value) for name, value in asdict(proposals.drift).items()},
        }
    listed = sorted(regions, key=lambda region: (-region.shrunken_gap, region.region))[:LISTED]
    return {
        "settings": asdict(settings),
        "stopped": decision.reason or None,
        "expected_gain": _short(decision.expected_gain),
        "num_regions": len(regions),
        "num_hard_regions": len(hard),
        "probe_gap": {"hard": _mean_gap(hard), "all": _mean_gap(regions)},
        **facts,
        "hardest_regions": [_row(region, int(children[region.region])) for region in listed],
    }


def review(summary: Mapping[str, Any]) -> str:
    """A round's summary as text."""
    if "mining" not in summary:
        how = "mined, why is not recorded" if "mined" in summary["origins"] else "not mined"
        return f"{summary['round']}: {summary['rows']} latents, {how}"
    facts = summary["mining"]
    gap = facts["probe_gap"]
    lines = [
        f"{summary['round']}: {summary['rows']} latents, digest {summary['digest'][:12]}, "
        f"by {facts['settings']['law']} from the gaps of {facts['gaps']}",
        f"{facts['num_hard_regions']} of {facts['num_regions']} regions are significantly worse: "
        f"gap {_text(gap['hard'])}, all {_text(gap['all'])}; "
        f"expected gain {facts['expected_gain']:.4f}",
    ]
    if facts["stopped"]:
        return "\n".join([*lines, f"mining stopped: {facts['stopped']}"])
    drift = facts["drift"]
    lines.append(
        f"{facts['mined']} mined of {facts['parents']} parents, {facts['prior']} of the prior, "
        f"{facts['near_duplicates_rejected']} near-duplicates rejected; spread "
        f"{drift['spread']:.3f}, shift {drift['shift']:.3f} of the pool's"
    )
    lines.append(
        f"regions of {summary['round']}, by their gap pulled towards the mean of all (shrinkage "
        f"{facts['settings']['shrinkage']:g}):"
    )
    lines.append("region  probe faces  mean gap  pulled  95 % interval   p        children")
    lines += [
        f"{row['region']:6d}  {row['num_faces']:11d}  {row['mean_gap']:8.3f}  {row['gap']:6.3f}  "
        f"[{row['ci95'][0]:.3f}, {row['ci95'][1]:.3f}]  {row['p_value']:.1e}  "
        f"{row['children']:8d}{'  hard' * row['hard']}"
        for row in facts["hardest_regions"]
    ]
    return "\n".join(lines)


def _row(region: Region, children: int) -> dict[str, Any]:
    return {
        "region": region.region,
        "num_faces": region.num_faces,
        "mean_gap": _short(region.mean_gap),
        "gap": _short(region.shrunken_gap),
        "ci95": [_short(bound) for bound in region.ci95],
        "p_value": float(f"{region.p_value:.3g}"),
        "hard": region.hard,
        "children": children,
    }


def _mean_gap(regions: Sequence[Region]) -> float | None:
    """Over the probe's faces in these regions; None without any."""
    faces = sum(region.num_faces for region in regions)
    total = sum(region.mean_gap * region.num_faces for region in regions)
    return _short(total / faces) if faces else None


def _short(value: float) -> float:
    return round(value, DIGITS)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
