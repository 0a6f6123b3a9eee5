"""Networks in ONNX files: checked, run on the CPU, fed as they declare.

A file that does not say how it wants its pictures is refused: wrong preprocessing gives
embeddings that look right and are not. It says so in its metadata_props under `facestill.*`, or
without that prefix in FILE.onnx.json beside it; docs/MODELS.md has the keys. Teachers in other
files declare their name and licence in the same way.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from manifests.core.digests import sha256_file
from manifests.core.errors import InputError, pick
from manifests.core.files import parse_json
from pipeline.arrays.frames import FRAMES, Frame
from pipeline.arrays.numerics import BATCH

PREFIX = "facestill."
KEYS = (
    "frame", "colours", "normalisation", "layout", "size", "output",  # of any network
    "metric", "views", "embedding_width", "name", "licence",  # of one that embeds
    "attribute", "classes", "activation",  # of one that names what it sees
    "latent_space",  # of one that draws
)  # fmt: skip
MAX_BYTES = 2 << 30  # of a file and what lies beside it; a protobuf message cannot be larger
MAX_SIDECAR_BYTES = 1 << 16
MAX_SIDE = 1024  # pixels of a picture
NUMBER = r"-?[0-9]{1,6}(?:\.[0-9]{1,9})?"
NUMBERS = rf"({NUMBER}(?:, ?{NUMBER}, ?{NUMBER})?)"  # one, or one a channel
FORMULA = re.compile(rf"\(x - {NUMBERS}\) / {NUMBERS}")
IN_GRAPH = "in-graph"
UNSTATED = "not stated"
DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}


@dataclass(frozen=True)
class Declaration:
    """Keys, without the prefix, and their values."""

    path: Path
    values: Mapping[str, str]

    def require(self, key: str) -> str:
        """A declared value. Raises InputError that says where to declare it."""
        if key not in self.values:
            raise InputError(
                f"{self.path}: does not declare {PREFIX}{key}; add it to the file's "
                f"metadata_props, or to {self.path.name}.json beside it (docs/MODELS.md)"
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
    if path.stat().st_size > MAX_SIDECAR_BYTES:
        raise InputError(f"{path}: larger than {MAX_SIDECAR_BYTES} bytes")
    try:
        values = parse_json(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if type(values) is not dict or not all(type(value) is str for value in values.values()):
        raise InputError(f"{path}: expected one JSON object whose values are texts")
    return {key.removeprefix(PREFIX): value for key, value in values.items()}


@dataclass(frozen=True)
class Feed:
    """How a network wants its pictures."""

    frame: Frame  # at the network's own number of pixels
    colours: str  # rgb or bgr
    layout: str  # nchw or nhwc
    dtype: str  # float32 or uint8
    mean: tuple[float, ...]  # one, or one a channel in the network's order
    scale: tuple[float, ...]

    def __call__(self, pictures: Float[Tensor, "face 3 size size"]) -> np.ndarray:
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


def feed_of(declared: Declaration, shape: Sequence[int | str | None], dtype: str) -> Feed:
    """The feed for an input of this shape (a text or None: any length) and onnxruntime type.

    Raises InputError for anything but one batch of square RGB pictures, float32 or uint8, and
    for what is not declared.
    """
    layout = declared.choose("layout", ("nchw", "nhwc"), "nchw")
    size = _side(shape, layout, declared.whole_number("size"))
    if size is None or dtype not in DTYPES:
        wanted = "[batch, 3, size, size]" if layout == "nchw" else "[batch, size, size, 3]"
        raise InputError(
            f"{declared.path}: takes {dtype} {list(shape)}, expected float or uint8 {wanted}, "
            f"size up to {MAX_SIDE}; {PREFIX}layout and {PREFIX}size say what a graph may not"
        )
    frame = FRAMES[declared.choose("frame", FRAMES)].at(size)
    colours = declared.choose("colours", ("rgb", "bgr"))
    mean, scale = normalisation_of(declared, DTYPES[dtype])
    return Feed(frame, colours, layout, DTYPES[dtype], mean, scale)


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


@dataclass(frozen=True)
class OnnxFile:
    """A checked file with its declaration, whatever its graph takes and gives."""

    path: Path
    sha256: str  # of the file; with others beside it that count, of the list of their hashes
    declared: Declaration
    session: Any  # onnxruntime.InferenceSession


@dataclass(frozen=True)
class OnnxNetwork:
    """A checked file, ready to run: RGB pictures in [0, 255] in its frame -> rows of numbers."""

    path: Path
    sha256: str  # see OnnxFile
    declared: Declaration
    feed: Feed
    output: str
    width: int  # of an output row
    batch: int  # pictures of one call
    session: Any  # onnxruntime.InferenceSession

    @property
    def frame(self) -> Frame:
        return self.feed.frame

    @property
    def preprocessing(self) -> str:
        """All that happens to a picture between its frame and the graph, in words."""
        feed = self.feed
        return (
            f"{feed.colours} {feed.layout} {feed.dtype}, {self.declared.require('normalisation')}"
        )

    def __call__(self, pictures: Float[Tensor, "face 3 size size"]) -> Float[Tensor, "face width"]:
        """Output rows, always computed in one batch shape, the tail padded with its last row.

        Raises InputError if the graph fails, or gives other than one row a picture.
        """
        starts = range(0, len(pictures), self.batch)
        rows = [self._run(pictures[at : at + self.batch]) for at in starts]
        return torch.from_numpy(np.concatenate([np.empty((0, self.width), np.float32), *rows]))

    def _run(self, pictures: Tensor) -> np.ndarray:
        missing = self.batch - len(pictures)
        padded = torch.cat([pictures, pictures[-1:].expand(missing, -1, -1, -1)])
        source = self.session.get_inputs()[0].name
        try:
            (rows,) = self.session.run([self.output], {source: self.feed(padded)})
        except Exception as error:  # onnxruntime's errors have no base class of their own
            raise InputError(f"{self.path}: does not run ({_short(error)})") from None
        if rows.shape != (self.batch, self.width):
            raise InputError(
                f"{self.path}: output {self.output} is {list(rows.shape)} for {self.batch} "
                f"pictures, expected {[self.batch, self.width]}"
            )
        return rows[: len(pictures)]


def open_network(path: Path) -> OnnxNetwork:
    """The network of an ONNX file; one batch of grey pictures has gone through it.

    Raises InputError for a file that is too large, not ONNX, reaches outside its folder, takes
    anything but one batch of square RGB pictures, or does not declare how it wants them.
    """
    file = open_file(path)
    declared, session = file.declared, file.session
    if len(session.get_inputs()) != 1:
        names = ", ".join(item.name for item in session.get_inputs()) or "none"
        raise InputError(f"{path}: inputs {names}; expected one, of pictures")
    source = session.get_inputs()[0]
    feed = feed_of(declared, source.shape, source.type)
    batch = source.shape[0] if isinstance(source.shape[0], int) else BATCH
    output, width = _output(declared, session.get_outputs())
    network = OnnxNetwork(path, file.sha256, declared, feed, output, width, batch, session)
    network(torch.full((1, 3, feed.frame.size, feed.frame.size), 127.0))
    return network


def open_file(path: Path) -> OnnxFile:
    """An ONNX file and its session. Raises InputError for a file that is too large, not ONNX, or
    reaches outside its folder."""
    _check_files(path, [path])
    model = _parse(path)
    beside = _external_files(path, model)
    _check_files(path, [path, *beside])
    declared = declaration_of(path, {entry.key: entry.value for entry in model.metadata_props})
    digest = _digest([path, *beside, *filter(Path.exists, [sidecar_of(path)])])
    return OnnxFile(path, digest, declared, _session(path))


def _check_files(path: Path, files: Sequence[Path]) -> None:
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: no such file" + (f", {path} needs it" * (file != path)))
    size = sum(file.stat().st_size for file in files)
    if size > MAX_BYTES:
        raise InputError(f"{path}: {size / 1e9:.1f} GB, at most {MAX_BYTES / 1e9:.1f} GB are read")


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"ONNX files need the package {name}; pip install -e '.[onnx]'") from None


def _parse(path: Path) -> Any:
    """The ModelProto; weights in other files stay there."""
    onnx = _library("onnx")
    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except Exception as error:  # protobuf's, whose classes differ between its implementations
        raise InputError(f"{path}: not an ONNX file ({_short(error)})") from None
    if not model.graph.node:
        raise InputError(f"{path}: not an ONNX file (there is no graph in it)")
    return model


def _external_files(path: Path, model: Any) -> list[Path]:
    """Files that hold weights. Raises InputError for one outside the model's folder."""
    names = {
        entry.value
        for tensor in _tensors(model)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    for name in names:
        if not (path.parent / name).resolve().is_relative_to(path.parent.resolve()):
            raise InputError(
                f"{path}: weights in {name[:80]!r}, outside its folder; bring them there, or "
                "save the model as one file"
            )
    return [path.parent / name for name in sorted(names)]


def _tensors(message: Any) -> Iterator[Any]:
    """Every TensorProto inside: initialisers, constants, and those of inner graphs."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "DESCRIPTOR") else value:
                yield from _tensors(part)


def _session(path: Path) -> Any:
    """On the CPU, with torch's number of threads, which the command around it has chosen."""
    runtime = _library("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # Waiting threads would burn the cores that align and crop the next pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # errors come as exceptions
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no base class of their own
        raise InputError(f"{path}: onnxruntime does not take it ({_short(error)})") from None


def _output(declared: Declaration, outputs: Sequence[Any]) -> tuple[str, int]:
    """The name of the output and the width of its rows."""
    choices = {item.name: item for item in outputs}
    only = outputs[0].name if len(outputs) == 1 else None
    found = choices[declared.choose("output", choices, only)]
    stated = declared.whole_number("embedding_width")
    last = found.shape[-1] if len(found.shape) == 2 else 0
    width = last if isinstance(last, int) else stated
    if found.type != "tensor(float)" or not width or stated not in (None, width):
        raise InputError(
            f"{declared.path}: output {found.name} is {found.type} {found.shape}, expected float "
            f"[batch, {stated or 'width'}]; facestill.embedding_width may say a width"
        )
    return found.name, width


def _digest(files: Sequence[Path]) -> str:
    if len(files) == 1:
        return sha256_file(files[0])
    lines = [f"{sha256_file(file)}  {file.name}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
