"""A set in the layout of DigiFace-1M below the current folder, and parameters for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manifests.settings.params import Params
from tests.pipeline.adoption.toys import EACH, PEOPLE, SET, SIDE


@pytest.fixture
def params(params: Params) -> Params:
    return replace(params, render=replace(params.render, frame_size=48, shard_rows=64))


@pytest.fixture
def images(workspace: Path) -> dict[str, np.ndarray]:
    """A set in the layout of DigiFace-1M, aligned, and its pictures by their names."""
    rng = np.random.default_rng(0)
    pictures = {}
    for person in range(PEOPLE):
        (SET / str(person)).mkdir(parents=True)
        for number in range(EACH):
            coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            picture = np.array(Image.fromarray(coarse).resize((SIDE, SIDE)))
            Image.fromarray(picture).save(SET / f"{person}/{number}.png")
            pictures[f"{person}/{number}.png"] = picture
    (SET / "LICENSE.txt").write_text("no image")
    return pictures
