"""RandAugment's operations one picture at a time, by Pillow."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

BINS = 30


def augmented(picture: np.ndarray, name: str, bin: int, sign: int) -> np.ndarray:
    """A uint8 picture (height, width, 3) after one operation at a bin of 0..30."""
    image = Image.fromarray(picture)
    share = sign * bin / BINS
    factor = 1.0 + 0.9 * share
    match name:
        case "identity":
            done = image
        case "shear-x":
            done = moved(image, (1.0, 0.3 * share, 0.0, 0.0, 1.0, 0.0))
        case "translate-x":
            done = moved(image, (1.0, 0.0, int(share * 150 / 331 * image.width), 0.0, 1.0, 0.0))
        case "rotate":
            done = image.rotate(30.0 * share, Image.Resampling.NEAREST)
        case "brightness":
            done = ImageEnhance.Brightness(image).enhance(factor)
        case "color":
            done = ImageEnhance.Color(image).enhance(factor)
        case "contrast":
            done = ImageEnhance.Contrast(image).enhance(factor)
        case "sharpness":
            done = ImageEnhance.Sharpness(image).enhance(factor)
        case "posterize":
            done = ImageOps.posterize(image, 8 - round(bin / BINS * 4))
        case "solarize":
            done = ImageOps.solarize(image, 255.0 - 8.5 * bin)
        case "autocontrast":
            done = ImageOps.autocontrast(image)
        case "equalize":
            done = ImageOps.equalize(image)
        case "grayscale":
            done = image.convert("L").convert("RGB")
        case _:
            raise ValueError(name)
    return np.asarray(done)


def moved(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    kind = Image.Transform.AFFINE
    return image.transform(image.size, kind, matrix, Image.Resampling.NEAREST)
