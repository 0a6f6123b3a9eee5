"""Colour as people see it: sRGB to CIELAB, and the typology angle of skin."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

# IEC 61966-2-1: linear sRGB to CIE XYZ, and the white (D65, 2 degrees) that all ones give.
SRGB_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)
WHITE = SRGB_TO_XYZ.sum(axis=1)
EPSILON, KAPPA = (6 / 29) ** 3, (29 / 6) ** 2 / 3  # CIE 15: where the cube root gives way
LEAST_CHROMA = 1.0  # of CIELAB; below it a colour is a grey, and has no hue


def _linear() -> Float[np.ndarray, " level"]:
    """Linear light of the 256 levels of an sRGB channel."""
    level = np.arange(256) / 255
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)


LINEAR = _linear()
LUMINANCE = (SRGB_TO_XYZ[1][:, None] * LINEAR).astype(np.float32)  # Y of a channel's 256 levels


def _lightness_curve(ratio: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """f of CIE 15, of a tristimulus value over the white's."""
    return np.where(ratio > EPSILON, np.cbrt(ratio), ratio * KAPPA + 4 / 29).astype(ratio.dtype)


def lightness(rgb: UInt8[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape"]:
    """L* of sRGB pixels, 0 (black) to 100 (white)."""
    red, green, blue = (light[rgb[..., i]] for i, light in enumerate(LUMINANCE))
    return 116 * _lightness_curve(red + green + blue) - 16


def lab(rgb: UInt8[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 3"]:
    """L*, a*, b* of sRGB pixels under D65."""
    ratios = (LINEAR[rgb][..., None, :] * (SRGB_TO_XYZ / WHITE[:, None])).sum(axis=-1)
    x, y, z = np.moveaxis(_lightness_curve(ratios), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def typology_angle(colour: Float[np.ndarray, "face 3"]) -> Float[np.ndarray, " face"]:
    """Individual typology angle in degrees, arctan((L* - 50) / b*), of skin colours in CIELAB:
    above 55 very light, 41 light, 28 intermediate, 10 tan, -30 brown, below it dark (Chardon
    et al., Int. J. Cosmetic Science 13, 1991).

    NaN where it says nothing: for greys (chroma below LEAST_CHROMA, as in photographs without
    colour) and where b* is not above 0, which skin is only under coloured light.
    """
    lightness, a, b = colour.T
    said = (np.hypot(a, b) >= LEAST_CHROMA) & (b > 0)
    angle = np.degrees(np.arctan2(lightness - 50, b))
    return np.where(said, angle, np.nan)
