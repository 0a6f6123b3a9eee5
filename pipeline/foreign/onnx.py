"""Networks in ONNX files: checked, tried, and run on the CPU, fed as they declare."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from pipeline.arrays.frames import Frame
from pipeline.arrays.numerics import BATCH
from pipeline.foreign.declarations import (
    DTYPES,
    FLOATS,
    Declaration,
    Feed,
    declaration_of,
    feed_of,
    sidecar_of,
)
from pipeline.foreign.promises import ROWS, check_pictures

MAX_BYTES = 2 << 30  # of a file and what lies beside it; a protobuf message cannot be larger
MAX_BATCH = 4096  # rows of one call
MAX_WIDTH = 1 << 16  # numbers of a row
BY_BATCH = {"DynamicQuantizeLinear"}  # operators that take a scale from all rows of a batch
LONGEST_REASON = 240  # characters


@dataclass(frozen=True)
class OnnxFile:
    """A checked file with its declaration, whatever its graph takes and gives."""

    path: Path
    sha256: str  # of the file; with others beside it that count, of the list of their hashes
    declared: Declaration
    operators: frozenset[str]  # of its nodes
    session: Any  # onnxruntime.InferenceSession

    def batch(self, size: int | str | None) -> int:
        """Rows of one call, by the first length of the input's shape: as many as it says, else
        those of every backend; one where the graph itself would mix the rows of a batch.

        Raises InputError for a length that no call can have.
        """
        if not isinstance(size, int):
            return 1 if self.operators & BY_BATCH else BATCH
        if not 0 < size <= MAX_BATCH:
            raise InputError(
                f"{self.path}: takes a batch of {size}, expected 1 to {MAX_BATCH}, or one of any "
                "length; save it so"
            )
        return size

    def trial(self, size: int | str | None) -> int:
        """Rows of one call while the network is tried: few, where it leaves that open."""
        return self.batch(size) if isinstance(size, int) else min(self.batch(size), 2 * ROWS)

    def eps(self, output: str) -> float:
        """Relative rounding of the coarsest type that it takes or gives there."""
        given = [each.type for each in self.session.get_outputs() if each.name == output]
        types = {*given, self.session.get_inputs()[0].type} & set(FLOATS)
        return max(float(np.finfo(FLOATS[each]).eps) for each in types)

    @property
    def numerics(self) -> dict[str, str]:
        """What its low bits depend on beside the machine."""
        return {"onnxruntime": _library("onnxruntime").__version__}

    def run(self, output: str, rows: np.ndarray) -> np.ndarray:
        """One output of one call; see `run_all`."""
        return self.run_all([output], rows)[0]

    def run_all(self, outputs: Sequence[str], rows: np.ndarray) -> list[np.ndarray]:
        """One call. Raises InputError with the runtime's reason if it fails."""
        source = self.session.get_inputs()[0]
        try:
            fed = {source.name: rows.astype(DTYPES[source.type])}
            found: list[np.ndarray] = self.session.run(list(outputs), fed)
        except Exception as error:  # onnxruntime's errors have no base class of their own
            raise InputError(f"{self.path}: does not run ({_short(error)})") from None
        return found


@dataclass(frozen=True)
class OnnxNetwork:
    """A checked file, ready to run: RGB pictures in [0, 255] in its frame -> rows of numbers."""

    file: OnnxFile
    feed: Feed
    output: str
    width: int  # of an output row
    batch: int  # pictures of one call

    @property
    def path(self) -> Path:
        return self.file.path

    @property
    def sha256(self) -> str:
        return self.file.sha256

    @property
    def declared(self) -> Declaration:
        return self.file.declared

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
        none = np.empty((0, self.width), np.float32)
        return torch.from_numpy(np.concatenate([none, *rows]).astype(np.float32))

    def _run(self, pictures: Tensor) -> np.ndarray:
        missing = self.batch - len(pictures)
        padded = torch.cat([pictures, pictures[-1:].expand(missing, -1, -1, -1)])
        rows = self.file.run(self.output, self.feed(padded))
        if rows.shape != (self.batch, self.width):
            raise InputError(
                f"{self.path}: output {self.output} is {list(rows.shape)} for {self.batch} "
                f"pictures, expected {[self.batch, self.width]}"
            )
        return rows[: len(pictures)]


def open_network(path: Path) -> OnnxNetwork:
    """The network of an ONNX file, tried on a few pictures.

    Raises InputError for a file that is too large, not ONNX, reaches outside its folder, takes
    anything but one batch of square RGB pictures, or does not declare how it wants them; and for
    a network whose rows are not those of their pictures alone.
    """
    file = open_file(path)
    declared, session = file.declared, file.session
    if len(session.get_inputs()) != 1:
        names = ", ".join(item.name for item in session.get_inputs()) or "none"
        raise InputError(f"{path}: inputs {names}; expected one, of pictures")
    source = session.get_inputs()[0]
    feed = feed_of(declared, source.shape, source.type)
    batch = file.batch(source.shape[0])
    output, width = _output(declared, session.get_outputs())
    network = OnnxNetwork(file, feed, output, width, batch)
    tried = replace(network, batch=file.trial(source.shape[0]))
    check_pictures(tried, feed.frame.size, str(path), file.eps(output))
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
    operators = frozenset(node.op_type for node in model.graph.node)
    return OnnxFile(path, digest, declared, operators, _session(path))


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
        raise InputError(f"{path}: not an ONNX file ({_short(error)}){_other_kind(path)}") from None
    if not model.graph.node:
        raise InputError(f"{path}: not an ONNX file (there is no graph in it)")
    return model


def _other_kind(path: Path) -> str:
    torch_file = path.suffix in (".pth", ".pt", ".safetensors")
    return f"; a state dict of arcface_torch is arcface-iresnet:{path}" if torch_file else ""


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
        raise InputError(
            f"{path}: onnxruntime {runtime.__version__} does not take it ({_short(error)})"
        ) from None


def _output(declared: Declaration, outputs: Sequence[Any]) -> tuple[str, int]:
    """The name of the output and the width of its rows."""
    choices = {item.name: item for item in outputs}
    only = outputs[0].name if len(outputs) == 1 else None
    found = choices[declared.choose("output", choices, only)]
    stated = declared.whole_number("embedding_width")
    last = found.shape[-1] if len(found.shape) == 2 else 0
    width = last if isinstance(last, int) else stated
    fits = width is not None and 0 < width <= MAX_WIDTH and stated in (None, width)
    if found.type not in FLOATS or width is None or not fits:
        raise InputError(
            f"{declared.path}: output {found.name} is {found.type} {found.shape}, expected float "
            f"[batch, {stated or 'width'}], width up to {MAX_WIDTH}; facestill.embedding_width may "
            "say a width"
        )
    return found.name, width


def _digest(files: Sequence[Path]) -> str:
    if len(files) == 1:
        return sha256_file(files[0])
    lines = [f"{sha256_file(file)}  {file.name}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _short(error: Exception) -> str:
    """Its end: onnxruntime begins with the path and its own source, and says the reason last."""
    text = " ".join(str(error).split())
    return text if len(text) <= LONGEST_REASON else f"… {text[-LONGEST_REASON:]}"
