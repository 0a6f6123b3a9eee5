"""Head pose from five landmarks: a model of the points of their scheme, seen by a scaled
orthographic ("weak perspective") camera and turned until its points fit best.

Five points leave two things open, which priors settle: a long nose looks like a lowered head, and
a short face like one that is raised or lowered, so the model's nose, and with it the mouth, may be
longer or shorter; and of two poses that fit alike, the one nearer to level is taken (a maximum a
posteriori fit). Pitch is therefore pulled a little towards 0.

Which way is positive, seen in the picture: yaw, the face looks to the right; pitch, it looks
up; roll, it is tilted clockwise. Rotations are applied in that order.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex, Float

from pipeline.arrays.frames import ARCFACE112
from pipeline.arrays.landmarks import (
    ARCFACE5,
    ARCFACE_TEMPLATE,
    DLIB5,
    DLIB5_MEAN_SHAPE,
    Scheme,
)

# Pixels that the tip of a level face's nose lies below the template's, by which faces look 5
# degrees further down than by dlib's points of the same pictures.
TIP_BELOW = (0.0, 2.2)
# From the front: the mean places of the points, and dlib's there, of which the outer eye corners
# are the first and the third.
FRONTS = {
    DLIB5: (DLIB5_MEAN_SHAPE, DLIB5_MEAN_SHAPE),
    ARCFACE5: (
        ARCFACE_TEMPLATE + np.outer(np.eye(5)[ARCFACE5.nose], TIP_BELOW),
        DLIB5.inside(ARCFACE112),
    ),
}
# Which point each becomes in a mirrored face.
MIRRORED = {DLIB5: [2, 3, 0, 1, 4], ARCFACE5: [1, 0, 2, 4, 3]}
# Depth towards the camera, in units of the distance between the outer eye corners, from the mean
# of OpenFace's 3-D landmark model (Baltrusaitis et al., WACV 2016), rounded; 0 is that of the
# inner corners. Eye centres are the mean of an eye's six points.
OUTER_CORNER, INNER_CORNER, EYE_CENTRE = -0.07, 0.0, -0.02
NOSE_BASE, NOSE_TIP, MOUTH_CORNER = 0.28, 0.40, 0.03
DEPTHS = {
    DLIB5: (OUTER_CORNER, INNER_CORNER, OUTER_CORNER, INNER_CORNER, NOSE_BASE),
    ARCFACE5: (EYE_CENTRE, EYE_CENTRE, NOSE_TIP, MOUTH_CORNER, MOUTH_CORNER),
}
# How the points of a longer nose move down, in units of the nose base: the whole face in step.
LONGER = {DLIB5: (0.0, 0.0, 0.0, 0.0, 1.0), ARCFACE5: (0.0, 0.0, 0.75, 1.5, 1.5)}
YAW_RANGE = (-60.0, 60.0)  # degrees; beyond, five points tell little
# Further down, the nose base comes no lower in the picture: the mirrored solution begins there.
PITCH_RANGE = (-30.0, 45.0)
# Standard deviations that are assumed: of a landmark and of people's noses, in units of the model
# (8 % of the way from the eyes to the nose base, or to the mouth), and of pitch in degrees.
LANDMARK_SD, NOSE_SD, PITCH_SD = 0.02, 0.045, 15.0
STARTS = ((0.0, 0.0), (35.0, 0.0), (-35.0, 0.0), (0.0, 30.0))  # yaw and pitch, degrees
MOST_ITERATIONS = 25
CONVERGED = 1e-7  # radians of a step
DAMPING = 1e-3  # of the trace of the normal matrix


def five_point_model(scheme: Scheme) -> Float[np.ndarray, "5 3"]:
    """The points (x right, y down, z towards the camera) of a face that looks straight ahead:
    from the front they are the scheme's mean places made symmetric, so that pitch 0 is the pitch
    of the average face that its landmarks were learnt from. Unit: outer eye corner to outer eye
    corner; the origin is the points' mean."""
    front, corners = FRONTS[scheme]
    x, y = front.T - front[scheme.nose, 0] * np.array([[1.0], [0.0]])
    other, width = MIRRORED[scheme], np.ptp(corners[[0, 2], 0] - front[scheme.nose, 0])
    depth = width * np.array(DEPTHS[scheme])
    points = np.stack([(x - x[other]) / 2, (y + y[other]) / 2, depth], axis=1)
    return (points - points.mean(axis=0)) / width


def project(
    scheme: Scheme, yaw: Float[np.ndarray, " face"], pitch: Float[np.ndarray, " face"]
) -> tuple[
    Complex[np.ndarray, "face 5"], Complex[np.ndarray, "face 5"], Complex[np.ndarray, "face 5"]
]:
    """The model's points in the picture, x + iy, at these angles (radians), unit scale and no
    roll; and their derivatives by yaw and by pitch."""
    x, y, z = five_point_model(scheme).T
    cos_yaw, sin_yaw = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    cos_pitch, sin_pitch = np.cos(pitch)[:, None], np.sin(pitch)[:, None]
    across, depth = x * cos_yaw + z * sin_yaw, z * cos_yaw - x * sin_yaw
    seen = across + 1j * (y * cos_pitch - depth * sin_pitch)
    by_yaw = depth + 1j * across * sin_pitch
    by_pitch = -1j * (y * sin_pitch + depth * cos_pitch)
    return seen, by_yaw, by_pitch


def head_pose(
    landmarks: Float[np.ndarray, "face 5 2"], scheme: Scheme
) -> Float[np.ndarray, "face 3"]:
    """Yaw, pitch and roll in degrees; NaN where a landmark is NaN, or all are one place.

    For given yaw, pitch and nose the best roll, scale and place are a complex factor and a mean
    (as in `pipeline.arrays.frames.similarity`), so that Gauss-Newton with that factor projected out
    (Kaufman, BIT 15, 1975) searches three numbers. Values at the ends of YAW_RANGE and
    PITCH_RANGE mean "there or beyond".
    """
    pose = np.full((len(landmarks), 3), np.nan)
    known = np.isfinite(landmarks).all(axis=(1, 2)) & (np.ptp(landmarks, axis=1) > 0).any(axis=1)
    points = _standardised(landmarks[known], scheme)
    least = np.full(len(points), np.inf)
    best = np.zeros((len(points), 3))
    for start in STARTS:
        found, misfit = _fit(points, np.radians(start), scheme)
        better = misfit < least
        least[better], best[better] = misfit[better], found[better]
    pose[known] = np.degrees(best)
    return pose


def _standardised(
    landmarks: Float[np.ndarray, "face 5 2"], scheme: Scheme
) -> Complex[np.ndarray, "face 5"]:
    """x + iy about their mean, as large as the model is from the front."""
    x, y = np.moveaxis(landmarks.astype(np.float64), 2, 0)
    points = x + 1j * y
    points = points - points.mean(axis=1, keepdims=True)
    size = np.linalg.norm(points, axis=1, keepdims=True)
    return points * np.linalg.norm(five_point_model(scheme)[:, :2]) / size


def _fit(
    points: Complex[np.ndarray, "face 5"], start: Float[np.ndarray, " 2"], scheme: Scheme
) -> tuple[Float[np.ndarray, "face 3"], Float[np.ndarray, " face"]]:
    """Yaw, pitch and roll in radians from one start, and how badly they fit."""
    low, high = np.radians([YAW_RANGE, PITCH_RANGE]).T
    state = np.tile([*start, 0.0], (len(points), 1))  # yaw, pitch, what the nose is longer by
    moving = np.ones(len(points), bool)  # each face stops by itself: its company changes no bit
    for _ in range(MOST_ITERATIONS):
        seen, *slopes = _shaped(state, scheme)
        factor, rest = _similarity(seen, points)
        columns = [-factor[:, None] * (s - _factor(seen, s)[:, None] * seen) for s in slopes]
        turned = state - _step(np.stack(columns, axis=2), rest, state)
        turned[:, :2] = np.clip(turned[:, :2], low, high)
        moving = moving & (np.abs(turned - state).max(axis=1) >= CONVERGED)
        state = np.where(moving[:, None], turned, state)
        if not moving.any():
            break
    factor, rest = _similarity(_shaped(state, scheme)[0], points)
    misfit = (np.abs(rest) ** 2).sum(axis=1) + (state**2 * _prior()).sum(axis=1)
    return np.column_stack([state[:, :2], np.angle(factor)]), misfit


def _prior() -> Float[np.ndarray, " 3"]:
    """What a unit of each squared costs, in squared distances of landmarks."""
    return LANDMARK_SD**2 / np.array([np.inf, np.radians(PITCH_SD), NOSE_SD]) ** 2


def _shaped(
    state: Float[np.ndarray, "face 3"], scheme: Scheme
) -> list[Complex[np.ndarray, "face 5"]]:
    """The points of a model with that nose, and their derivatives by yaw, pitch and nose."""
    yaw, pitch, longer = state.T
    seen, by_yaw, by_pitch = project(scheme, yaw, pitch)
    nose = np.array(LONGER[scheme]) - np.mean(LONGER[scheme])
    along, by_turning = 1j * np.cos(pitch)[:, None] * nose, -1j * np.sin(pitch)[:, None] * nose
    longer = longer[:, None]
    return [seen + longer * along, by_yaw, by_pitch + longer * by_turning, along]


def _factor(
    seen: Complex[np.ndarray, "face 5"], points: Complex[np.ndarray, "face 5"]
) -> Complex[np.ndarray, " face"]:
    """The complex number that takes `seen` closest to `points`, both with mean 0."""
    return (seen.conj() * points).sum(axis=1) / (np.abs(seen) ** 2).sum(axis=1)


def _similarity(
    seen: Complex[np.ndarray, "face 5"], points: Complex[np.ndarray, "face 5"]
) -> tuple[Complex[np.ndarray, " face"], Complex[np.ndarray, "face 5"]]:
    """That number, and what it leaves of `points`."""
    factor = _factor(seen, points)
    return factor, points - factor[:, None] * seen


def _step(
    jacobian: Complex[np.ndarray, "face 5 3"],
    rest: Complex[np.ndarray, "face 5"],
    state: Float[np.ndarray, "face 3"],
) -> Float[np.ndarray, "face 3"]:
    """Damped least-squares solution for the state, its prior included."""
    normal = np.real(np.einsum("fpi,fpj->fij", jacobian.conj(), jacobian)) + np.diag(_prior())
    slope = np.real(np.einsum("fpi,fp->fi", jacobian.conj(), rest)) + state * _prior()
    damping = DAMPING * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-12
    return np.linalg.solve(normal + damping * np.eye(3), slope[:, :, None])[:, :, 0]
