"""The look of every figure, and how one becomes a file.

Drawn with the font that comes with matplotlib: the same bytes anywhere.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from manifests.core.errors import InputError
from manifests.core.files import put, require_file_place, require_new, write_json

STUDENT, TEACHER = "#1f5f99", "#96590c"  # as text on white 6.6 and 5.5 to 1
BEFORE = "#8a94a3"
INK, MUTED, RULE, SHADE = "#1c2430", "#5d6878", "#d9dee5", "#f1ece2"
COLOURS = {"student": STUDENT, "teacher": TEACHER}
DASHES = {"student": "solid", "teacher": (0, (5, 2))}
# For models that have no role; as lines on white they differ in lightness too.
PALETTE = (STUDENT, TEACHER, "#2b7a3d", "#8a2f6b", "#c4483b", "#0d7377", "#6a5acd", "#1c2430")
LONGEST = 40  # letters of a model's name in a picture; its end tells most
WIDTH, DPI = 9.6, 180  # inches of a page's width
METADATA: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
}
FORMATS = (".json", *METADATA)
Place = Literal["best", "lower right", "upper right", "upper left", "center left"]


def line_of(model: str, place: int) -> tuple[str, Any]:
    """Colour and dashes of a model by its role, or else by its place among those in a picture."""
    if model in COLOURS:
        return COLOURS[model], DASHES[model]
    dashes = ("solid", (0, (5, 2)), (0, (1, 1)))
    return PALETTE[place % len(PALETTE)], dashes[place // len(PALETTE) % len(dashes)]


def shortened(name: str) -> str:
    return name if len(name) <= LONGEST else "…" + name[1 - LONGEST :]


def label_of(name: str) -> str:
    """What a picture calls a model: a dollar sign in its name begins no formula."""
    return shortened(name).replace("$", r"\$")


def canvas(height: float, width: float = WIDTH) -> Figure:
    return Figure((width, height), dpi=DPI, layout="constrained", facecolor="white")


def framed(axes: Axes, x_label: str = "", y_label: str = "", *, size: int = 9) -> Axes:
    """For curves and histograms: both axes' lines and ticks, rules at the heights."""
    _named(axes, x_label, y_label)
    axes.tick_params(colors=MUTED, labelsize=size, width=0.8)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=RULE)
    return axes


def bare(
    axes: Axes, x_label: str = "", y_label: str = "", *, rules: Literal["x", "y"] = "x"
) -> Axes:
    """For marks that are read off against rules: the lower line alone, no ticks."""
    _named(axes, x_label, y_label)
    axes.grid(axis=rules, color=RULE, linewidth=0.8)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    return axes


def _named(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label, color=MUTED, fontsize=9)
    axes.set_ylabel(y_label, color=MUTED, fontsize=9)
    axes.set_axisbelow(True)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Rows 0, 1, … from the top."""
    axes.set_yticks(range(len(names)), names, color=INK)
    axes.set_ylim(len(names) - 0.5, -0.5)


def legend(axes: Axes, place: Place, **options: Any) -> None:
    axes.legend(loc=place, frameon=False, fontsize=9, labelcolor=INK, **options)


def above(axes: Axes, columns: int) -> None:
    """A legend in one line over the right end of the axes."""
    legend(axes, "lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, borderaxespad=0.0)


def picture(figure: Figure, suffix: str = ".png") -> bytes:
    """The figure as a PNG or SVG file: the same bytes for the same figure."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "facestill"}):
        figure.savefig(buffer, format=suffix.removeprefix("."), metadata=METADATA[suffix])
    return buffer.getvalue()


def data_uri(content: bytes | Figure) -> str:
    """A WebP, or a figure as one, as the address of itself."""
    held = content if isinstance(content, bytes) else lossless(picture(content))
    return f"data:image/webp;base64,{b64encode(held).decode()}"


def lossless(png: bytes) -> bytes:
    """The same pixels on white as a WebP: a third of the bytes."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as opened:
        opened.convert("RGB").save(buffer, "WEBP", lossless=True, method=6)
    return buffer.getvalue()


def check_outputs(paths: Sequence[Path], *, force: bool = False) -> None:
    """Of --out. Raises InputError for a file that could not be written so: before the work."""
    for path in paths:
        if path.suffix not in FORMATS:
            raise InputError(f"{path}: --out takes files that end in {', '.join(FORMATS)}")
        require_file_place(path)
        require_new(path, force=force)


def write_outputs(
    paths: Sequence[Path], found: Mapping[str, Any], draw: Callable[[], Figure]
) -> None:
    """`found` into each .json, the figure into each .png or .svg."""
    for path in paths:
        if path.suffix == ".json":
            write_json(path, found)
        else:
            put(path, picture(draw(), path.suffix))
