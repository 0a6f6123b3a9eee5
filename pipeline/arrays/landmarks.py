"""Five points of a face: where a scheme of them lies in the plane of frames, and the similarity
that brings a face's own points there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipeline.arrays.frames import ARCFACE112, DLIB150, Frame, similarity


@dataclass(frozen=True, eq=False)
class Scheme:
    """Which five points an aligner gives, in which order."""

    name: str  # in stores
    points: tuple[str, ...]  # as one sees them in the picture
    plane: Float[np.ndarray, "5 2"]  # where they lie in an aligned face
    eyes: tuple[tuple[int, ...], tuple[int, ...]]  # points about the right one's and left one's
    nose: int

    def inside(self, frame: Frame) -> Float[np.ndarray, "5 2"]:
        """Pixel places (x, y) of the points of an aligned face in `frame`."""
        return (self.plane - (frame.left, frame.top)) * frame.scale

    def placement(
        self, landmarks: Float[np.ndarray, "5 2"], frame: Frame
    ) -> Float[np.ndarray, "2 3"]:
        """The matrix that takes a pixel place in `frame` to its place in the face's picture: the
        inverse of the similarity that takes the landmarks closest to the frame's, as the field
        cuts (Umeyama 1991, eq. 40-42; InsightFace's `estimate_norm`)."""
        there = similarity(self.inside(frame), landmarks)
        back = np.linalg.inv(there[:, :2])
        return np.concatenate([back, -(back @ there[:, 2])[:, None]], axis=1)

    def eye_centres(
        self, landmarks: Float[np.ndarray, "face 5 2"]
    ) -> Float[np.ndarray, "face 2 2"]:
        """The eye on the right of the picture, then the left one."""
        return np.stack([landmarks[:, list(eye)].mean(axis=1) for eye in self.eyes], axis=1)

    def eye_distance(self, landmarks: Float[np.ndarray, "face 5 2"]) -> Float[np.ndarray, " face"]:
        """Between the eyes' centres, in the landmarks' pixels."""
        eyes = self.eye_centres(landmarks)
        return np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=1)


class DlibScheme(Scheme):
    """dlib's, of which stores were cut by the similarity that takes the frame's points closest to
    the landmarks, the other way round: a face turned aside comes out a little larger."""

    def placement(
        self, landmarks: Float[np.ndarray, "5 2"], frame: Frame
    ) -> Float[np.ndarray, "2 3"]:
        return similarity(landmarks, self.inside(frame))


# dlib's mean shape. Chip coordinate = (padding + p) / (1 + 2 padding) of the side, padding 0.25.
DLIB5_MEAN_SHAPE = np.array(
    [[0.8596, 0.2135], [0.6461, 0.2290], [0.1206, 0.2137], [0.3341, 0.2291], [0.4901, 0.6278]]
)
DLIB5 = DlibScheme(
    "dlib5",
    (
        "right eye, outer corner", "right eye, inner corner", "left eye, outer corner",
        "left eye, inner corner", "base of the nose",
    ),
    DLIB150.extent * (0.25 + DLIB5_MEAN_SHAPE) / 1.5 + (DLIB150.left, DLIB150.top),
    ((0, 1), (2, 3)),
    4,
)  # fmt: skip
# The field's template for 112 pixels (ArcFace, Deng et al. 2019; InsightFace's face_align.py),
# whose places count from the first pixel's centre.
ARCFACE_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]]
)  # fmt: skip
ARCFACE5 = Scheme(
    "arcface5",
    (
        "left eye, centre", "right eye, centre", "tip of the nose", "left corner of the mouth",
        "right corner of the mouth",
    ),
    (ARCFACE_TEMPLATE + 0.5) / ARCFACE112.scale + (ARCFACE112.left, ARCFACE112.top),
    ((1,), (0,)),
    2,
)  # fmt: skip
SCHEMES: dict[str, Scheme] = {scheme.name: scheme for scheme in (ARCFACE5, DLIB5)}
