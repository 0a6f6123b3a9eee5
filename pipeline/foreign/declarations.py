"""What is declared of a stranger's network, and how its pictures follow from it.

A file that does not say how it wants its pictures is refused: wrong preprocessing gives
embeddings that look right and are not. An ONNX file says so in its metadata_props under
`facestill.*`, or without that prefix in FILE.onnx.json beside it; docs/MODELS.md has the keys.
Teachers in other files declare their name and licence in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from manifests.core.errors import InputError, pick
from manifests.core.files import read_foreign_json
from manifests.core.students import in_todays_words
from pipeline.arrays.frames import FRAMES, Frame

PREFIX = "facestill."
KEYS = (
    "frame", "colours", "normalisation", "layout", "size", "output",  # of any network
    "metric", "views", "embedding_width", "name", "licence", "aligner",  # of one that embeds
    "real_faces",  # of one that was trained here
    "attribute", "classes", "activation",  # of one that names what it sees
    "latent_space",  # of one that draws
)  # fmt: skip
EXAMPLE = (
    '{"frame": "arcface112", "colours": "rgb", "normalisation": "(x - 127.5) / 127.5", '
    '"metric": "cosine", "licence": "..."}'
)
MAX_SIDECAR_BYTES = 1 << 16
MAX_SIDE = 1024  # pixels of a picture
NUMBER = r"-?[0-9]{1,6}(?:\.[0-9]{1,9})?"
NUMBERS = rf"({NUMBER}(?:, ?{NUMBER}, ?{NUMBER})?)"  # one, or one a channel
FORMULA = re.compile(rf"\(x - {NUMBERS}\) / {NUMBERS}")
IN_GRAPH = "in-graph"
UNSTATED = "not stated"
FLOATS = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
DTYPES = FLOATS | {"tensor(uint8)": "uint8"}


@dataclass(frozen=True)
class Declaration:
    """Keys, without the prefix, and their values."""

    path: Path
    values: Mapping[str, str]

    def with_defaults(self, values: Mapping[str, str]) -> Declaration:
        """With values for what is not declared."""
        return Declaration(self.path, {**values, **self.values})

    def require(self, key: str) -> str:
        """A declared value. Raises InputError that says where to declare it."""
        if key not in self.values:
            raise InputError(
                f"{self.path}: does not declare {PREFIX}{key}; write {sidecar_of(self.path)}, as "
                f"in {EXAMPLE} for an ArcFace network (docs/MODELS.md has each key)"
            )
        return self.values[key]

    def choose(self, key: str, choices: Iterable[str], default: str | None = None) -> str:
        """One of `choices`; raises InputError that lists them."""
        value = self.require(key) if default is None else self.values.get(key, default)
        try:
            return pick(f"{PREFIX}{key}", value[:40], {choice: choice for choice in choices})
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from None

    def own_name(self) -> str:
        """The declared name, or the file's: a store is called after it."""
        name = self.values.get("name", self.path.stem)
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", name, re.ASCII):
            raise InputError(
                f"{self.path}: {PREFIX}name {name[:64]!r}; a name has letters, digits, dots, "
                f"dashes and underscores; declare one in {self.path.name}.json beside it"
            )
        return name

    def whole_number(self, key: str) -> int | None:
        """A positive whole number; None where it is not declared."""
        text = self.values.get(key)
        if text is None:
            return None
        if not re.fullmatch("[1-9][0-9]{0,5}", text):
            raise InputError(f"{self.path}: {PREFIX}{key} {text[:40]!r}, expected a whole number")
        return int(text)


def sidecar_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def declaration_of(path: Path, metadata: Mapping[str, str]) -> Declaration:
    """What the file's metadata says, and over it the JSON file beside it.

    Raises InputError for a key that means nothing: it would be left unheeded.
    """
    own = {
        key.removeprefix(PREFIX): value for key, value in metadata.items() if key.startswith(PREFIX)
    }
    if "student_sha256" in metadata:  # an export of a student
        own = in_todays_words(own)
    beside = sidecar_of(path)
    declared = own | (_read_sidecar(beside) if beside.exists() else {})
    unknown = sorted(set(declared) - set(KEYS))
    if unknown:
        raise InputError(
            f"{path}: declares {PREFIX}{unknown[0][:40]}, which means nothing; known keys: "
            f"{', '.join(sorted(KEYS))}"
        )
    return Declaration(path, declared)


def _read_sidecar(path: Path) -> dict[str, str]:
    values = read_foreign_json(path, MAX_SIDECAR_BYTES)
    if type(values) is not dict or not all(type(value) is str for value in values.values()):
        raise InputError(
            f"{path}: expected one JSON object whose values are texts, as in {EXAMPLE}"
        )
    return {key.removeprefix(PREFIX): value for key, value in values.items()}


@dataclass(frozen=True)
class Pixels:
    """How a network wants the pixels of its pictures."""

    colours: str  # rgb or bgr
    layout: str  # nchw or nhwc
    dtype: str  # of DTYPES
    mean: tuple[float, ...]  # one, or one a channel in the network's order
    scale: tuple[float, ...]

    def __call__(self, pictures: Float[Tensor, "face 3 height width"]) -> np.ndarray:
        """The input for RGB pictures in [0, 255]."""
        x = pictures.detach().cpu().float()
        if self.colours == "bgr":
            x = x.flip(1)
        if self.dtype == "uint8":
            x = x.round().clamp(0, 255)
        mean, scale = (x.new_tensor(own).view(1, -1, 1, 1) for own in (self.mean, self.scale))
        x = (x - mean) / scale
        if self.layout == "nhwc":
            x = x.permute(0, 2, 3, 1)
        return np.ascontiguousarray(x.numpy().astype(self.dtype))


@dataclass(frozen=True)
class Feed(Pixels):
    """How a network wants its pictures."""

    frame: Frame  # at the network's own number of pixels


def feed_of(declared: Declaration, shape: Sequence[int | str | None], dtype: str) -> Feed:
    """The feed for an input of this shape (a text or None: any length) and onnxruntime type.

    Raises InputError for anything but one batch of square RGB pictures of a type in DTYPES, and
    for what is not declared.
    """
    layout = declared.choose("layout", ("nchw", "nhwc"), "nchw")
    size = _side(shape, layout, declared.whole_number("size"))
    if dtype not in DTYPES:
        raise InputError(
            f"{declared.path}: takes {dtype}, expected one of {', '.join(sorted(DTYPES))}; save it "
            "with such an input"
        )
    if size is None:
        stated = declared.values.get("size", "size")
        wanted = "[batch, 3, {0}, {0}]" if layout == "nchw" else "[batch, {0}, {0}, 3]"
        raise InputError(
            f"{declared.path}: takes {dtype} {list(shape)}, expected "
            f"{wanted.format(stated)}, size up to {MAX_SIDE}; {PREFIX}layout and {PREFIX}size say "
            "what a graph may not"
        )
    frame = FRAMES[declared.choose("frame", FRAMES)].at(size)
    return Feed(**vars(pixels_of(declared, layout, DTYPES[dtype])), frame=frame)


def pixels_of(declared: Declaration, layout: str, dtype: str) -> Pixels:
    """How pixels are handed to an input of this layout and type of DTYPES' values. Raises
    InputError for what is not declared."""
    colours = declared.choose("colours", ("rgb", "bgr"))
    return Pixels(colours, layout, dtype, *normalisation_of(declared, dtype))


def _side(shape: Sequence[int | str | None], layout: str, stated: int | None) -> int | None:
    """Pixels of a picture's side; None where the input takes no square RGB pictures."""
    if len(shape) != 4:
        return None
    channels, *ends = shape[1:] if layout == "nchw" else (shape[3], *shape[1:3])
    height, width = (end if isinstance(end, int) else stated for end in ends)
    if channels != 3 or height is None or height != width or stated not in (None, height):
        return None
    return height if 0 < height <= MAX_SIDE else None


def normalisation_of(
    declared: Declaration, dtype: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and scale between pixels in [0, 255] and the graph's numbers x; those that change
    nothing where the graph itself normalises."""
    text = declared.require("normalisation")
    if text == IN_GRAPH:
        return (0.0,), (1.0,)
    found = FORMULA.fullmatch(text)
    if found is None or dtype == "uint8":
        raise InputError(
            f"{declared.path}: {PREFIX}normalisation {text[:60]!r} of a {dtype} input, expected "
            f"{IN_GRAPH}" + (" or (x - MEAN) / SCALE" if dtype != "uint8" else "")
        )
    mean, scale = (tuple(map(float, own.split(","))) for own in found.groups())
    if 0.0 in scale:
        raise InputError(f"{declared.path}: {PREFIX}normalisation divides by 0")
    return mean, scale
