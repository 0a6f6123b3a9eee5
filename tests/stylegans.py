"""StyleGAN files in the official layouts, with random weights. The pickles ask for the same names
as NVIDIA's, and hold the text of a module that would leave a file behind if it were executed."""

from __future__ import annotations

import json
import pickle
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.generators import load_generator
from pipeline.generators.stylegan.layers import StyleNetwork
from pipeline.generators.stylegan.resampling import binomial
from pipeline.generators.stylegan.style2 import Style2Network, Style2Settings
from pipeline.generators.stylegan.style3 import Style3Network, Style3Settings

LICENCE = "CC0-1.0"
SMALL2 = {
    "z_dim": 12, "c_dim": 0, "w_dim": 8, "img_resolution": 16, "img_channels": 3,
    "channel_base": 128, "channel_max": 16, "num_fp16_res": 4, "conv_clamp": 256,
    "mapping_kwargs": {"num_layers": 3},
}  # fmt: skip
SMALL3 = {
    "z_dim": 12, "c_dim": 0, "w_dim": 8, "img_resolution": 32, "img_channels": 3,
    "channel_base": 256, "channel_max": 6, "num_layers": 6, "magnitude_ema_beta": 0.999,
    "mapping_kwargs": {"num_layers": 2},
}  # fmt: skip
RADIAL = {"conv_kernel": 1, "use_radial_filters": True}  # what config R adds


class EasyDict(dict[str, Any]):
    """As dnnlib's: a dictionary, pickled as a class of its own."""


class Persistent:
    """What torch_utils.persistence writes for a module: a call with text and state."""

    def __init__(self, class_name: str, state: Mapping[str, Any], source: str) -> None:
        self.meta = {
            "type": "class",
            "version": 6,
            "module_src": source,
            "class_name": class_name,
            "state": dict(state),
        }

    def __reduce__(self) -> tuple[Any, ...]:
        module = sys.modules["torch_utils.persistence"]
        return module._reconstruct_persistent_obj, (self.meta,), None


def randomised(network: nn.Module, seed: int = 0) -> Any:
    """Every tensor at random, but for the designed filters; such that pixels are not all at
    their limits."""
    generator = torch.Generator().manual_seed(seed)
    for name, own in network.state_dict().items():
        if "filter" not in name:
            own.copy_(torch.randn(own.shape, generator=generator))
        if name.endswith("magnitude_ema"):
            own.copy_(own.abs() + 0.5)
        if "torgb" in name and "affine" not in name:
            own.mul_(0.1)
        if "mapping.fc" in name:
            own.mul_(100.0)  # it acts times 0.01
    return network.eval().requires_grad_(False)


def flat(given: Mapping[str, Any]) -> dict[str, Any]:
    names = ("num_fp16_res", "img_channels", "c_dim", "magnitude_ema_beta", "mapping_kwargs")
    inner = {f"mapping_{name}": value for name, value in given["mapping_kwargs"].items()}
    own = {name: value for name, value in given.items() if name not in names} | inner
    return own | ({"conv_clamp": float(given["conv_clamp"])} if "conv_clamp" in given else {})


def network_of(kind: int, given: Mapping[str, Any], seed: int = 0) -> StyleNetwork:
    """A network of StyleGAN `kind` with random weights."""
    if kind == 2:
        return randomised(Style2Network(Style2Settings(**flat(given))), seed)
    return randomised(Style3Network(Style3Settings(**flat(given))), seed)


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Named as in the official files, StyleGAN2's resampling filters included."""
    tensors = dict(network.state_dict())
    if isinstance(network, Style2Network):
        square = torch.outer(binomial(), binomial())
        for name in list(tensors):
            if name.endswith(("conv0.weight", "conv1.weight", "torgb.weight")):
                block = name.rpartition(".")[0].replace(".torgb", "")
                tensors[f"{block}.resample_filter"] = square
    return tensors


def storage_of(tensor: Tensor) -> torch.storage.TypedStorage:
    """What torch pickles below a tensor, without the warning that it gives once a process."""
    return torch.storage.TypedStorage(
        wrap_storage=tensor.untyped_storage(), dtype=tensor.dtype, _internal=True
    )


def persistent(
    class_name: str,
    tensors: Mapping[str, Tensor],
    *,
    source: str,
    extra: Mapping[str, Any],
    inner: Mapping[str, Any],
) -> Persistent:
    """A tree of modules from dotted names. `extra`: attributes of the outermost, `inner`: of all
    that hold tensors; a test may put what it likes there."""
    own: OrderedDict[str, Any] = OrderedDict()
    below: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        head, _, rest = name.partition(".")
        if rest:
            below.setdefault(head, {})[rest] = value
        else:
            own[name] = nn.Parameter(value) if name in ("weight", "bias", "const") else value
    parameters = {name: v for name, v in own.items() if isinstance(v, nn.Parameter)}
    modules = {
        name: persistent("Layer", parts, source=source, extra={}, inner=inner)
        for name, parts in below.items()
    }
    state = {
        "training": False,
        "_parameters": OrderedDict(parameters),
        "_buffers": OrderedDict({n: v for n, v in own.items() if n not in parameters}),
        "_non_persistent_buffers_set": set(),
        "_backward_hooks": OrderedDict(),
        "_modules": OrderedDict(modules),
        "weight_gain": np.float64(0.5),
        "size": np.broadcast_to(np.asarray(36), [2]),
        **inner,
        **extra,
    }
    return Persistent(class_name, state, source)


@contextmanager
def official_names() -> Iterator[None]:
    """The modules that official pickles name are there to be named, and nothing else of them."""
    persistence = ModuleType("torch_utils.persistence")

    def _reconstruct_persistent_obj(meta: Any) -> Any:
        raise AssertionError("an official reader was called")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    persistence.__dict__["_reconstruct_persistent_obj"] = _reconstruct_persistent_obj
    util = ModuleType("dnnlib.util")
    util.__dict__["EasyDict"] = EasyDict
    before = (EasyDict.__module__, EasyDict.__qualname__)
    EasyDict.__module__, EasyDict.__qualname__ = "dnnlib.util", "EasyDict"
    added = {
        "torch_utils": ModuleType("torch_utils"),
        "torch_utils.persistence": persistence,
        "dnnlib": ModuleType("dnnlib"),
        "dnnlib.util": util,
    }
    sys.modules.update(added)
    try:
        yield
    finally:
        EasyDict.__module__, EasyDict.__qualname__ = before
        for name in added:
            del sys.modules[name]


def declare(path: Path, **changes: Any) -> Path:
    """PATH.json beside a file."""
    values = {"frame": "ffhq", "licence": LICENCE, **changes}
    path.with_name(f"{path.name}.json").write_text(json.dumps(values))
    return path


def write_pickle(
    path: Path,
    network: nn.Module,
    given: Mapping[str, Any],
    *,
    source: str = "",
    protocol: int = 4,
    key: str = "G_ema",
    class_name: str = "Generator",
    extra: Mapping[str, Any] | None = None,
    inner: Mapping[str, Any] | None = None,
    tensors: Mapping[str, Tensor] | None = None,
) -> Path:
    """An official file of `network` that says it was made with the settings `given`."""
    made_with = EasyDict(given) | {"mapping_kwargs": EasyDict(given["mapping_kwargs"])}
    own = {"_init_args": (), "_init_kwargs": EasyDict(made_with), **(extra or {})}
    inner = inner or {"conv_clamp": given.get("conv_clamp"), "use_fp16": np.bool_(True)}
    module = persistent(
        class_name, tensors or tensors_of(network), source=source, extra=own, inner=inner
    )
    content = {"training_set_kwargs": EasyDict(path="x.zip"), "G": None, "D": None, key: module}
    with official_names():
        path.write_bytes(pickle.dumps(content, protocol))
    return declare(path)


def load(kind: int, path: Path) -> Any:
    return load_generator(f"stylegan{kind}:{path}", Path("weights"))


def z_of(rows: int, seed: int = 0) -> Tensor:
    """Draws for the small networks."""
    return torch.randn(rows, 12, generator=torch.Generator().manual_seed(seed))
