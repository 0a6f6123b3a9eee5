"""Weight files of StyleGANs, opened and checked: official pickles, or safetensors.

PATH.json beside the file says what the file cannot: whether its pictures are aligned as FFHQ's
are, and under which licence they come; beside safetensors, the network's settings, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from manifests.core.files import read_foreign_json
from pipeline.arrays.frames import Frame
from pipeline.foreign.pickles import shown
from pipeline.foreign.torch_files import fault_of
from pipeline.generators.stylegan.alignment import ffhq_frame
from pipeline.generators.stylegan.layers import StyleNetwork
from pipeline.generators.stylegan.pickled import MOST_BYTES, PickledNetwork, read_network

Settings = TypeVar("Settings")
KEYS = ("frame", "licence", "name", "settings")
FRAMES = ("ffhq", "detect")
MOST_DECLARED_BYTES = 1 << 16
LARGEST = 1 << 20  # of any number among the settings, but for those that cost time or memory
MOST_PIXELS = 1024
MOST = {
    "img_resolution": MOST_PIXELS, "num_layers": 64, "mapping_num_layers": 64, "filter_size": 64,
    "lrelu_upsampling": 16,
}  # fmt: skip
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")
EXAMPLE = '{"frame": "ffhq", "licence": "..."}'


@dataclass(frozen=True)
class Declared:
    """What PATH.json says."""

    name: str
    licence: str
    aligned: bool  # as FFHQ is
    settings: Mapping[str, Any]

    def frame(self, size: int) -> Frame | None:
        return ffhq_frame(size) if self.aligned else None


@dataclass(frozen=True)
class Stored:
    """A file's tensors under the official names, and the settings that go with them."""

    path: Path
    sha256: str
    declared: Declared
    settings: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    network: PickledNetwork | None  # of a pickle


def read_declared(path: Path) -> Declared:
    """Raises InputError for a file that is not declared, and for a key that means nothing."""
    beside = path.with_name(f"{path.name}.json")
    if not path.is_file():
        raise InputError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}")
    if not beside.is_file():
        raise InputError(
            f"{beside}: no such file; it declares the weights, as in {EXAMPLE}, frame one of "
            f"{', '.join(FRAMES)} (docs/GENERATORS.md)"
        )
    values = read_foreign_json(beside, MOST_DECLARED_BYTES)
    unknown = sorted(set(values) - set(KEYS)) if type(values) is dict else []
    if type(values) is not dict or unknown:
        has = f", it has {shown(unknown[0])}" if unknown else ""
        raise InputError(f"{beside}: expected one JSON object of {', '.join(KEYS)}{has}")
    frame, licence = values.get("frame"), values.get("licence")
    name, settings = values.get("name", path.stem), values.get("settings", {})
    if frame not in FRAMES or type(licence) is not str or not licence.strip():
        raise InputError(
            f"{beside}: expected a licence, and frame one of {', '.join(FRAMES)}, as in {EXAMPLE}"
        )
    if type(name) is not str or not NAME.fullmatch(name) or type(settings) is not dict:
        raise InputError(
            f"{beside}: name {shown(name)}; a name has letters, digits, dots, dashes and "
            "underscores, and settings are an object"
        )
    return Declared(name, licence, frame == "ffhq", settings)


def open_stored(path: Path) -> Stored:
    """Raises InputError for a file of another kind, too large, damaged, or not declared."""
    declared = read_declared(path)
    if path.suffix == ".safetensors":
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: larger than {MOST_BYTES} bytes")
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: not a safetensors file ({error})") from None
        settings = flattened(declared.settings)
        return Stored(path, sha256_file(path), declared, settings, tensors, None)
    if declared.settings:
        raise InputError(f"{path}.json: settings are for safetensors; a pickle has its own")
    network = read_network(path)
    settings = flattened(network.settings)
    return Stored(path, sha256_file(path), declared, settings, network.tensors, network)


def flattened(given: Mapping[str, Any]) -> dict[str, Any]:
    """One level: settings of the mapping begin with mapping_, those of the synthesis, which
    StyleGAN2-ADA keeps apart, have their own names."""
    flat = dict(given)
    for section, prefix in (("mapping_kwargs", "mapping_"), ("synthesis_kwargs", "")):
        inner = flat.pop(section, {})
        for name, value in inner.items() if isinstance(inner, dict) else ():
            flat[f"{prefix}{name}"] = value
    return flat


def parse_settings(
    path: Path,
    kind: type[Settings],
    given: Mapping[str, Any],
    *,
    fixed: Mapping[str, tuple[Any, ...]],
    unheeded: frozenset[str],
) -> Settings:
    """`given` as a frozen dataclass of settings.

    `fixed`: settings that are supported with these values alone; `unheeded`: those without
    influence on a picture. Raises InputError for any other, and for what is out of bounds.
    """
    own = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    values = {}
    for name, value in given.items():
        if name in fixed and value not in fixed[name]:
            raise InputError(
                f"{path}: setting {name} is {shown(value)}, supported: "
                f"{', '.join(map(str, fixed[name]))}"
            )
        if name in own:
            values[name] = _bounded(path, name, own[name].type, value)
        elif name not in fixed and name not in unheeded:
            raise InputError(f"{path}: setting {name[:40]!r} is not known")
    missing = [n for n, field in own.items() if field.default is MISSING and n not in values]
    if missing:
        raise InputError(f"{path}: setting {missing[0]} is missing")
    return kind(**values)


def _bounded(path: Path, name: str, kind: Any, value: Any) -> Any:
    most = MOST.get(name, LARGEST)
    if "None" in kind and value is None:
        return None
    if kind == "bool" and type(value) is bool:
        return value
    if kind == "int" and type(value) is float and value.is_integer():
        value = int(value)
    wanted = (int,) if kind == "int" else (int, float)
    if kind == "bool" or type(value) not in wanted or not 0 < value <= most:
        bounds = "" if kind == "bool" else f" above 0, at most {most}"
        raise InputError(f"{path}: setting {name} is {shown(value)}, expected {kind}{bounds}")
    return value if kind == "int" else float(value)


def fill(path: Path, build: Callable[[], StyleNetwork], tensors: Mapping[str, Tensor]) -> Any:
    """The network that `build` makes, with the file's tensors in place of its own.

    Raises InputError naming the first tensor that is missing, left over, of another shape, or
    not finite. Nothing is allocated before the shapes have been compared.
    """
    try:
        with torch.device("meta"):
            network = build()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (ValueError, ArithmeticError) as error:  # filters that cannot be designed
        raise InputError(f"{path}: its settings make no network ({error})") from None
    wanted = {name: tuple(own.shape) for name, own in network.state_dict().items()}
    unlike = sorted(set(wanted) ^ set(tensors))
    if unlike:
        verb = "lacks" if unlike[0] in wanted else "has"
        raise InputError(
            f"{path}: {verb} {unlike[0][:80]}, unlike the network of its settings "
            f"({network.resolution} pixels)"
        )
    for name, shape in wanted.items():
        if fault := fault_of(tensors[name]):
            raise InputError(f"{path}: {name} is {fault}, expected floating-point numbers")
        if tuple(tensors[name].shape) != shape:
            raise InputError(
                f"{path}: {name} is {list(tensors[name].shape)}, its settings "
                f"({network.resolution} pixels) make it {list(shape)}"
            )
        if not tensors[name].float().isfinite().all():
            raise InputError(f"{path}: {name} holds NaN or infinity")
    state = {name: tensors[name].float().contiguous() for name in wanted}
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)
