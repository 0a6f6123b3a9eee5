"""A small image set, and what is stated of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from manifests.settings.params import Params
from pipeline.adopt import Origin, adopt_round
from pipeline.adoption.image_sets import Wanted
from pipeline.arrays.frames import ARCFACE112
from pipeline.building.workers import Workers

SET = Path("digiface")
ALIGNED = Origin("DigiFace-1M", "research only", ARCFACE112)
FOUND = replace(ALIGNED, frame=None)
PEOPLE, EACH, SIDE = 11, 13, 32  # three shards of 64 rows


def adopted(
    params: Params, name: str = "digi", origin: Origin = ALIGNED, *, images: Path = SET
) -> str:
    return adopt_round(name, Wanted(images), origin, params, Workers(1))
