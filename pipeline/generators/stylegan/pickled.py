"""Official StyleGAN pickles, read for their tensors and settings alone.

A network there is a call of `torch_utils.persistence` with the text of the module that defines
its class; NVIDIA's own reader executes that text. This one drops it: what comes out is the name
of the class, its attributes, and the tensors below them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from manifests.core.errors import InputError
from pipeline.foreign.pickles import ARRAYS, Allowed, load_pickle, require_keys, shown
from pipeline.foreign.torch_files import FLOATS, UnreadableFile, fault_of, read_torch_file

MOST_BYTES = 4 << 30  # StyleGAN3-R at 1024 pixels with its discriminator: 0.4 GB
MOST_STEPS = 1_000_000  # about fifty a tensor
DEEPEST = 8  # modules within modules
NETWORK = "G_ema"  # the generator with averaged weights, the one to use


@dataclass(frozen=True)
class PickledModule:
    """A module of the file: its class's name and its attributes, nothing that runs."""

    class_name: str
    state: Mapping[str, Any]

    def part(self, name: str) -> PickledModule | None:
        """The module at a dotted path below this one."""
        at: Any = self
        for step in name.split("."):
            at = _mapping(at, "_modules").get(step)
            if not isinstance(at, PickledModule):
                return None
        return at


@dataclass(frozen=True)
class PickledNetwork:
    """What a generator is made of: what it was called with, and its tensors by dotted name."""

    module: PickledModule
    settings: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def read_network(path: Path) -> PickledNetwork:
    """The generator in an official file.

    Raises InputError naming what the file asks for beyond tensors, numbers and texts (it is not
    run), or what a generator of this family would have and the file has not.
    """
    content = load_pickle(path, ALLOWED, most_bytes=MOST_BYTES, most_steps=MOST_STEPS)
    if not isinstance(content, dict) or NETWORK not in content:
        kind = type(content).__name__
        found = shown(list(content)) if isinstance(content, dict) else f"a {kind}"
        raise InputError(f"{path}: holds {found}, expected a dictionary with {NETWORK}")
    module = content[NETWORK]
    if not isinstance(module, PickledModule) or module.class_name != "Generator":
        kind = module.class_name if isinstance(module, PickledModule) else type(module).__name__
        raise InputError(f"{path}: {NETWORK} is a {kind[:60]}, expected a Generator")
    arguments = module.state.get("_init_args", ())
    settings = module.state.get("_init_kwargs")
    unnamed = not isinstance(arguments, list | tuple) or arguments
    if unnamed or not isinstance(settings, dict):
        raise InputError(f"{path}: {NETWORK} does not say what it was made with, by name")
    _require_plain(settings, path)
    return PickledNetwork(module, settings, dict(_tensors(module, "", path)))


def _require_plain(settings: Mapping[Any, Any], path: Path) -> None:
    """Raises InputError for settings that JSON could not hold: names, numbers, texts, and lists
    and dictionaries of them."""
    seen: dict[int, Any] = {}
    found: list[Any] = [settings]
    while found:
        value = found.pop()
        if id(value) in seen:  # a file may hold one list a billion times
            continue
        seen[id(value)] = value
        if isinstance(value, dict):
            found += value.values()
            strange = next((name for name in value if type(name) is not str), None)
            if strange is not None:
                raise InputError(f"{path}: setting {shown(strange)} is no name")
        elif isinstance(value, list | tuple):
            found += value
        elif value is not None and type(value) not in (str, bool, int, float):
            raise InputError(f"{path}: a setting is {shown(value)}, expected numbers and texts")


def _tensors(module: PickledModule, prefix: str, path: Path) -> Iterator[tuple[str, Tensor]]:
    if prefix.count(".") > DEEPEST:
        raise InputError(f"{path}: modules nested deeper than {DEEPEST}")
    for table in ("_parameters", "_buffers"):
        for name, value in _mapping(module, table).items():
            if value is None:
                continue
            if not isinstance(value, Tensor):
                raise InputError(f"{path}: {prefix}{name} is no tensor")
            yield f"{prefix}{name}", value
    for name, inner in _mapping(module, "_modules").items():
        if isinstance(inner, PickledModule):
            yield from _tensors(inner, f"{prefix}{name}.", path)


def _mapping(module: Any, table: str) -> Mapping[str, Any]:
    found = module.state.get(table)
    return found if isinstance(found, dict) else {}


def _module(meta: Any) -> PickledModule:
    """Stands for the function that would execute `meta["module_src"]`."""
    if not isinstance(meta, dict) or meta.get("type") != "class":
        raise InputError("a persistent object that is not of a class")
    name, state = meta.get("class_name"), meta.get("state")
    if type(name) is not str or not isinstance(state, dict):
        raise InputError("a persistent object without its class's name and state")
    return PickledModule(name, state)


@dataclass(frozen=True)
class PickledStorage:
    """The numbers below a tensor."""

    values: torch.UntypedStorage
    dtype: torch.dtype


def _storage(data: Any) -> PickledStorage:
    """Numbers as torch.save writes them: a file within the file, with a pickle of its own."""
    if not isinstance(data, bytes):
        raise InputError("a tensor's numbers are no bytes")
    try:
        found = read_torch_file(data)
    except UnreadableFile as error:
        raise InputError(f"a tensor's numbers cannot be read ({error})") from None
    if not isinstance(found, torch.storage.TypedStorage):
        raise InputError(f"a tensor's numbers are a {type(found).__name__}")
    return PickledStorage(found._untyped_storage, found.dtype)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    if not isinstance(storage, PickledStorage) or storage.dtype not in FLOATS:
        raise InputError("a tensor without floating-point numbers")
    numbers = (offset, *size, *stride)
    if any(type(number) is not int or number < 0 for number in numbers):
        raise InputError(f"a tensor of size {shown(size)} and stride {shown(stride)}")
    made = torch.empty(0, dtype=storage.dtype)
    made.set_(storage.values, offset, size, stride)  # refuses what reaches past the storage
    if fault := fault_of(made):
        raise InputError(f"a tensor of {fault}")
    return made


def _parameter(data: Any, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise InputError("a parameter that is no tensor")
    return data


def _items(pairs: Any = ()) -> dict[Any, Any]:
    listed = [(key, value) for key, value in (pairs.items() if type(pairs) is dict else pairs)]
    require_keys(key for key, _ in listed)
    return dict(listed)


def _members(values: Any = ()) -> set[Any]:
    require_keys(values)
    return set(values)


ALLOWED: Allowed = {
    **ARRAYS,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _module,
    ("dnnlib.util", "EasyDict"): _items,
    ("collections", "OrderedDict"): _items,
    ("builtins", "set"): _members,
    ("__builtin__", "set"): _members,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.storage", "_load_from_bytes"): _storage,
}
