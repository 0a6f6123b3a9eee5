"""What can be measured on an aligned face without another network.

Pose comes from the five landmarks (eval.attributes.pose); the rest from the pixels of the
dlib112 region at SIZE pixels, at which a 96-pixel store needs no resampling.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, UInt8

from eval.annotators.base import AlignedFaces, Annotator
from eval.attributes.colour import lab, lightness, typology_angle
from eval.attributes.pose import PITCH_RANGE, YAW_RANGE, head_pose
from manifests.core.errors import InputError
from manifests.records.attributes import Attribute
from pipeline.arrays.frames import DLIB112
from pipeline.arrays.landmarks import ARCFACE5, DLIB5, Scheme

SIZE = 84  # pixels of the region that is measured
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as OpenCV's grey
MOST_SHARP = 1020.0**2  # the Laplacian of 8-bit pixels lies within 4 * 255 of 0
# Skin patches: squares of this half side, in units of the distance between the eyes, at places
# along the line from the eyes' middle (forehead) or an eye (cheeks) to the middle of these points:
# the nose base, or the mouth's corners, which are 1.53 times as far down in an aligned face.
PATCH = 0.12
BELOW = {DLIB5: [4], ARCFACE5: [3, 4]}
FOREHEAD, CHEEK = {DLIB5: -0.75, ARCFACE5: -0.49}, {DLIB5: 0.7, ARCFACE5: 0.46}


def steps(low: float, high: float, step: float) -> tuple[float, ...]:
    return tuple(np.linspace(low, high, round((high - low) / step) + 1).tolist())


def ratios(low: float, count: int, ratio: float) -> tuple[float, ...]:
    """Edges of `count` bins of equal width on a logarithmic scale, to six digits."""
    return tuple(float(f"{low * ratio**i:.6g}") for i in range(count + 1))


ATTRIBUTES = (
    Attribute("yaw", "degrees", *YAW_RANGE, steps(*YAW_RANGE, 5.0),
              "the face looks to the right of the picture"),
    Attribute("pitch", "degrees", *PITCH_RANGE, steps(*PITCH_RANGE, 5.0),
              "the face looks up; 0 is the average face of dlib's landmarks"),
    Attribute("roll", "degrees", -180.0, 180.0, steps(-45.0, 45.0, 5.0),
              "the face is tilted clockwise in its source picture"),
    Attribute("sharpness", "grey levels squared", 0.0, MOST_SHARP, ratios(1.0, 16, 10**0.25),
              "variance of the Laplacian of the grey crop"),
    Attribute("brightness", "L*", 0.0, 100.0, steps(0.0, 100.0, 5.0),
              "mean CIELAB lightness of the crop"),
    Attribute("contrast", "L*", 0.0, 50.0, steps(0.0, 40.0, 2.5),
              "standard deviation of the CIELAB lightness of the crop"),
    Attribute("skin angle", "degrees", -90.0, 90.0, steps(-90.0, 90.0, 10.0),
              "individual typology angle of forehead and cheeks; larger is lighter"),
    Attribute("eye distance", "pixels", 0.0, 65536.0, ratios(8.0, 12, 2**0.5),
              "between the eyes' centres in the source picture"),
)  # fmt: skip


class Measured(Annotator):
    name = "measured"
    version = "1"
    frame = DLIB112.at(SIZE)
    attributes = ATTRIBUTES

    def annotate(self, faces: AlignedFaces) -> Float[np.ndarray, "face attribute"]:
        source = faces.source_landmarks
        kept = np.isfinite(source).all(axis=(1, 2))
        pose = head_pose(np.where(kept[:, None, None], source, faces.landmarks), faces.scheme)
        roll = np.where(kept, pose[:, 2], np.nan)
        light = lightness(faces.images).astype(np.float64)
        columns = [
            pose[:, 0], pose[:, 1], roll, sharpness(faces.images), light.mean(axis=(1, 2)),
            light.std(axis=(1, 2)), typology_angle(skin_colour(faces)),
            faces.scheme.eye_distance(source),
        ]  # fmt: skip
        values = np.stack(columns, axis=1).astype(np.float32)
        low, high = np.array([(own.low, own.high) for own in self.attributes]).T
        return np.clip(values, low.astype(np.float32), high.astype(np.float32))  # NaN stays NaN


def load(argument: str) -> Measured:
    if argument:
        raise InputError(f"annotator measured takes no argument, found {argument!r}")
    return Measured()


def sharpness(images: UInt8[np.ndarray, "face size size 3"]) -> Float[np.ndarray, " face"]:
    """Variance of the 4-neighbour Laplacian of the grey picture, its border left out
    (Pech-Pacheco et al., ICPR 2000)."""
    red, green, blue = (images[..., i] * weight for i, weight in enumerate(LUMA))
    grey = red + green + blue  # not by a matrix product, whose low bits depend on its size
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    laplacian = around - 4 * grey[:, 1:-1, 1:-1]
    return laplacian.astype(np.float64).var(axis=(1, 2))


def skin_colour(faces: AlignedFaces) -> Float[np.ndarray, "face 3"]:
    """Median CIELAB colour over the pixels of forehead and both cheeks, so that a fringe over
    one of the three does not decide. Without landmarks they are where the frame has them."""
    images, size, scheme = faces.images, faces.images.shape[1], faces.scheme
    known = np.isfinite(faces.landmarks).all(axis=(1, 2), keepdims=True)
    landmarks = np.where(known, faces.landmarks, scheme.inside(DLIB112.at(size)))
    places = patch_pixels(landmarks, size, scheme)
    rows = np.arange(len(images))[:, None, None]
    colours = lab(images[rows, places[..., 1], places[..., 0]])
    _, patches, pixels, _ = colours.shape
    return np.median(colours.reshape(-1, patches * pixels, 3), axis=1)


def patch_pixels(
    landmarks: Float[np.ndarray, "face 5 2"], size: int, scheme: Scheme
) -> Int[np.ndarray, "face patch pixel 2"]:
    """Columns and rows of the pixels of the three patches; at the picture's edge they repeat."""
    eyes = scheme.eye_centres(landmarks)
    middle = eyes.mean(axis=1)
    down = landmarks[:, BELOW[scheme]].mean(axis=1) - middle
    forehead, cheek = FOREHEAD[scheme] * down, CHEEK[scheme] * down
    centres = [middle + forehead, *(eyes[:, i] + cheek for i in (0, 1))]
    width = np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=1)
    grid = np.stack(np.meshgrid(*[np.linspace(-PATCH, PATCH, 7)] * 2), axis=-1).reshape(-1, 2)
    offsets = grid[None, None] * width[:, None, None, None]
    places = np.stack(centres, axis=1)[:, :, None] + offsets
    return np.clip(np.floor(places), 0, size - 1).astype(np.int64)
