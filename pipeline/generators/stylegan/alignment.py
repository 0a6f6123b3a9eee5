"""Where the face sits in a picture of a generator trained on aligned FFHQ photographs."""

from __future__ import annotations

from pipeline.arrays.frames import ARCFACE112, Frame

# Eyes of FFHQ's alignment in 1024 pixels, and of the arcface112 template (SynthDistill, released
# code): columns of the image-left and the image-right eye, and their common row.
SOURCE_LEFT, SOURCE_RIGHT, SOURCE_ROW = 380, 650, 480
TARGET_LEFT, TARGET_RIGHT, TARGET_ROW = 38.2946, 73.5318, 51.6


def crop_box(size: int) -> tuple[int, int, int]:
    """(top row, left column, side) of the constant crop of a picture of `size` pixels that is
    the arcface112 region; 21, 22 and 213 at 256 pixels. Truncated to pixels as published."""
    row, left, right = (v * size // 1024 for v in (SOURCE_ROW, SOURCE_LEFT, SOURCE_RIGHT))
    zoom = (TARGET_RIGHT - TARGET_LEFT) / (right - left)
    x, y = left - TARGET_LEFT / zoom, row - TARGET_ROW / zoom
    return int(y), int(x), int(x + 112 / zoom) - int(x)


def ffhq_frame(size: int) -> Frame:
    """The frame of the whole picture, such that its constant crop is arcface112."""
    top, left, side = crop_box(size)
    unit = ARCFACE112.extent / side  # of the plane, a pixel
    corner = ARCFACE112.left - left * unit, ARCFACE112.top - top * unit
    return Frame("ffhq", size, *corner, size * unit)
