"""A student in the runtimes that people have, by those themselves: `make clients` installs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from train.checkpoint import load_student
from train.exporting.client_files import as_bytes
from train.exporting.graph import WithPreprocessing
from train.exporting.running import some_pictures


def picture(size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Smooth, as photographs are: RGB."""
    return as_bytes(some_pictures(1, size))[0]


def rows_of_the_student(
    run: Path, crops: UInt8[np.ndarray, "face 112 112 3"]
) -> Float[np.ndarray, "face width"]:
    """What the student itself makes of crops in arcface112: both views, summed."""
    student = load_student(run)
    assert (student.card.frame, student.card.views) == ("arcface112", "plain+flip")
    whole = WithPreprocessing(student.network, student.card.input_size).eval()
    pictures = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        rows: np.ndarray = (whole(pictures) + whole(pictures.flip(3))).numpy()
    return rows
