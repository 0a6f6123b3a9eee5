"""Head pose from dlib's five landmarks: a model of the points, seen by a scaled orthographic
("weak perspective") camera and turned until its points fit best.

Five points leave two things open, which priors settle: a long nose looks like a lowered head,
so the model's nose may be longer or shorter; and of two poses that fit alike, the one nearer to
level is taken (a maximum a posteriori fit). Pitch is therefore pulled a little towards 0.

Which way is positive, seen in the picture: yaw, the face looks to the right; pitch, it looks
up; roll, it is tilted clockwise. Rotations are applied in that order.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex, Float

from pipeline.arrays.frames import DLIB5_MEAN_SHAPE

# Depth towards the camera, in units of the distance between the outer eye corners, from the mean
# of OpenFace's 3-D landmark model (Baltrusaitis et al., WACV 2016), rounded: the outer corners
# lie behind the inner ones, the nose base before them.
OUTER_CORNER, INNER_CORNER, NOSE_BASE = -0.07, 0.0, 0.28
YAW_RANGE = (-60.0, 60.0)  # degrees; a detector of frontal faces finds nothing beyond
# Further down, the nose base comes no lower in the picture: the mirrored solution begins there.
PITCH_RANGE = (-30.0, 45.0)
# Standard deviations that are assumed: of a landmark and of people's noses, in units of the model
# (8 % of a nose's length), and of pitch in degrees.
LANDMARK_SD, NOSE_SD, PITCH_SD = 0.02, 0.045, 15.0
STARTS = ((0.0, 0.0), (35.0, 0.0), (-35.0, 0.0), (0.0, 30.0))  # yaw and pitch, degrees
MOST_ITERATIONS = 25
CONVERGED = 1e-7  # radians of a step
NOSE = np.array([0.0, 0.0, 0.0, 0.0, 1.0]) - 0.2  # moves the nose base, about the mean
DAMPING = 1e-3  # of the trace of the normal matrix


def five_point_model() -> Float[np.ndarray, "5 3"]:
    """The points (x right, y down, z towards the camera) of a face that looks straight ahead:
    from the front they are dlib's mean shape made symmetric, so that pitch 0 is the pitch of
    the average face that the landmarks were learnt from. Unit: outer eye corner to outer eye
    corner; the origin is their mean."""
    x, y = DLIB5_MEAN_SHAPE.T - DLIB5_MEAN_SHAPE[4, 0] * np.array([[1.0], [0.0]])
    outer, inner = (x[0] - x[2]) / 2, (x[1] - x[3]) / 2
    heights = [(y[0] + y[2]) / 2, (y[1] + y[3]) / 2]
    points = np.array(
        [
            [outer, heights[0], 2 * outer * OUTER_CORNER],
            [inner, heights[1], 2 * outer * INNER_CORNER],
            [-outer, heights[0], 2 * outer * OUTER_CORNER],
            [-inner, heights[1], 2 * outer * INNER_CORNER],
            [0.0, y[4], 2 * outer * NOSE_BASE],
        ]
    )
    return (points - points.mean(axis=0)) / (2 * outer)


def project(
    yaw: Float[np.ndarray, " face"], pitch: Float[np.ndarray, " face"]
) -> tuple[
    Complex[np.ndarray, "face 5"], Complex[np.ndarray, "face 5"], Complex[np.ndarray, "face 5"]
]:
    """The model's points in the picture, x + iy, at these angles (radians), unit scale and no
    roll; and their derivatives by yaw and by pitch."""
    x, y, z = five_point_model().T
    cos_yaw, sin_yaw = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    cos_pitch, sin_pitch = np.cos(pitch)[:, None], np.sin(pitch)[:, None]
    across, depth = x * cos_yaw + z * sin_yaw, z * cos_yaw - x * sin_yaw
    seen = across + 1j * (y * cos_pitch - depth * sin_pitch)
    by_yaw = depth + 1j * across * sin_pitch
    by_pitch = -1j * (y * sin_pitch + depth * cos_pitch)
    return seen, by_yaw, by_pitch


def head_pose(landmarks: Float[np.ndarray, "face 5 2"]) -> Float[np.ndarray, "face 3"]:
    """Yaw, pitch and roll in degrees; NaN where a landmark is NaN, or all are one place.

    For given yaw, pitch and nose the best roll, scale and place are a complex factor and a mean
    (as in `pipeline.arrays.frames.similarity`), so that Gauss-Newton with that factor projected out
    (Kaufman, BIT 15, 1975) searches three numbers. Values at the ends of YAW_RANGE and
    PITCH_RANGE mean "there or beyond".
    """
    pose = np.full((len(landmarks), 3), np.nan)
    known = np.isfinite(landmarks).all(axis=(1, 2)) & (np.ptp(landmarks, axis=1) > 0).any(axis=1)
    points = _standardised(landmarks[known])
    least = np.full(len(points), np.inf)
    best = np.zeros((len(points), 3))
    for start in STARTS:
        found, misfit = _fit(points, np.radians(start))
        better = misfit < least
        least[better], best[better] = misfit[better], found[better]
    pose[known] = np.degrees(best)
    return pose


def _standardised(landmarks: Float[np.ndarray, "face 5 2"]) -> Complex[np.ndarray, "face 5"]:
    """x + iy about their mean, as large as the model is from the front."""
    x, y = np.moveaxis(landmarks.astype(np.float64), 2, 0)
    points = x + 1j * y
    points = points - points.mean(axis=1, keepdims=True)
    size = np.linalg.norm(points, axis=1, keepdims=True)
    return points * np.linalg.norm(five_point_model()[:, :2]) / size


def _fit(
    points: Complex[np.ndarray, "face 5"], start: Float[np.ndarray, " 2"]
) -> tuple[Float[np.ndarray, "face 3"], Float[np.ndarray, " face"]]:
    """Yaw, pitch and roll in radians from one start, and how badly they fit."""
    low, high = np.radians([YAW_RANGE, PITCH_RANGE]).T
    state = np.tile([*start, 0.0], (len(points), 1))  # yaw, pitch, what the nose is longer by
    moving = np.ones(len(points), bool)  # each face stops by itself: its company changes no bit
    for _ in range(MOST_ITERATIONS):
        seen, *slopes = _shaped(state)
        factor, rest = _similarity(seen, points)
        columns = [-factor[:, None] * (s - _factor(seen, s)[:, None] * seen) for s in slopes]
        turned = state - _step(np.stack(columns, axis=2), rest, state)
        turned[:, :2] = np.clip(turned[:, :2], low, high)
        moving = moving & (np.abs(turned - state).max(axis=1) >= CONVERGED)
        state = np.where(moving[:, None], turned, state)
        if not moving.any():
            break
    factor, rest = _similarity(_shaped(state)[0], points)
    misfit = (np.abs(rest) ** 2).sum(axis=1) + (state**2 * _prior()).sum(axis=1)
    return np.column_stack([state[:, :2], np.angle(factor)]), misfit


def _prior() -> Float[np.ndarray, " 3"]:
    """What a unit of each squared costs, in squared distances of landmarks."""
    return LANDMARK_SD**2 / np.array([np.inf, np.radians(PITCH_SD), NOSE_SD]) ** 2


def _shaped(state: Float[np.ndarray, "face 3"]) -> list[Complex[np.ndarray, "face 5"]]:
    """The points of a model with that nose, and their derivatives by yaw, pitch and nose."""
    yaw, pitch, longer = state.T
    seen, by_yaw, by_pitch = project(yaw, pitch)
    along, by_turning = 1j * np.cos(pitch)[:, None] * NOSE, -1j * np.sin(pitch)[:, None] * NOSE
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
