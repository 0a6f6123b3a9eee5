"""ArcFace networks of the IResNet family, `arcface-iresnet:PATH`: 512-d, RGB 112x112, cosine.

PATH is a state dict as InsightFace's arcface_torch publishes it (Deng et al. 2019, arXiv
1801.07698, §3.1; Duta et al. 2020, arXiv 2004.04989, for the residual units), as safetensors or
as a torch file that needs no pickled code. How many units it has is read from its keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from pipeline.arrays.frames import ARCFACE112
from pipeline.foreign.declarations import UNSTATED, Declaration, declaration_of
from pipeline.foreign.torch_files import UnreadableFile, fault_of, read_torch_file
from pipeline.teachers.base import Teacher

UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
CHANNELS = (64, 128, 256, 512)
LEFT_SIDE = 7  # pixels that four halvings leave of 112
OPTIONAL = "num_batches_tracked"  # of a BatchNorm: only training reads it
OWN_KEYS = {"name", "licence"}  # that a declaration beside the file may have
MAX_BYTES = 2 << 30
MEAN = SCALE = 127.5


class ArcfaceIresnet(Teacher):
    frame = ARCFACE112
    metric = "cosine"
    by_torch = True
    preprocessing = "(RGB - 127.5) / 127.5"

    def __init__(self, network: IResNet, weights_sha256: str, name: str, licence: str) -> None:
        # Channels-last is the faster layout on CPUs.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.weights_sha256 = weights_sha256
        self.name = name
        self.licence = licence
        self.width = network.fc.out_features

    def to(self, device: torch.device) -> None:
        self.network.to(device)

    def embed(self, images: Float[Tensor, "batch 3 112 112"]) -> Float[Tensor, "batch width"]:
        images = images.to(self.network.fc.weight.device)
        embeddings: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return embeddings


def load_file(path: Path) -> ArcfaceIresnet:
    """The teacher whose weights lie at `path`; FILE.json beside it may declare `name` and
    `licence`.

    Raises InputError for a file that is no such state dict, naming the first key that is missing,
    means nothing or holds other than finite numbers of the right shape.
    """
    state, metadata = _read_state(path)
    network = network_of(path, state)
    declared = _declaration(path, metadata)
    licence = declared.values.get("licence", UNSTATED)
    return ArcfaceIresnet(network, sha256_file(path), declared.own_name(), licence)


class Unit(nn.Module):
    """BatchNorm, conv3x3, BatchNorm, PReLU, conv3x3, BatchNorm beside the identity, or beside a
    strided conv1x1 with BatchNorm where the picture is halved. Names are the checkpoints'."""

    def __init__(self, num_inputs: int, num_outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(num_inputs)
        self.conv1 = nn.Conv2d(num_inputs, num_outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_outputs)
        self.prelu = nn.PReLU(num_outputs)
        self.conv2 = nn.Conv2d(num_outputs, num_outputs, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(num_outputs)
        shortcut = (
            nn.Conv2d(num_inputs, num_outputs, 1, stride, bias=False),
            nn.BatchNorm2d(num_outputs),
        )
        self.downsample = nn.Sequential(*shortcut if stride > 1 else ())

    def forward(self, x: Tensor) -> Tensor:
        out = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(out)) + self.downsample(x)


class IResNet(nn.Module):
    """RGB in [0, 255], float "batch 3 112 112" -> embedding "batch width", not of unit length.

    `units` of the four stages, each of which halves the picture in its first unit.
    """

    def __init__(
        self, units: Sequence[int], channels: Sequence[int] = CHANNELS, width: int = 512
    ) -> None:
        super().__init__()
        stem, last = channels[0], channels[-1]
        self.conv1 = nn.Conv2d(3, stem, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.prelu = nn.PReLU(stem)
        widths = (stem, *channels)
        for stage, count in enumerate(units):
            setattr(self, f"layer{stage + 1}", _stage(widths[stage], widths[stage + 1], count))
        self.bn2 = nn.BatchNorm2d(last)
        self.fc = nn.Linear(last * LEFT_SIDE**2, width)
        self.features = nn.BatchNorm1d(width)

    def forward(self, x: Float[Tensor, "batch 3 112 112"]) -> Float[Tensor, "batch width"]:
        x = self.prelu(self.bn1(self.conv1((x - MEAN) / SCALE)))
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        return self.features(self.fc(torch.flatten(self.bn2(x), 1)))


def _stage(num_inputs: int, num_outputs: int, count: int) -> nn.Sequential:
    rest = (Unit(num_outputs, num_outputs, 1) for _ in range(count - 1))
    return nn.Sequential(Unit(num_inputs, num_outputs, 2), *rest)


def depth_of(keys: Sequence[str]) -> int | None:
    """Which IResNet has units of these keys; None if none has."""
    found = {match.groups() for key in keys if (match := re.match(r"layer(\d)\.(\d{1,3})\.", key))}
    units = tuple(sum(stage == str(number) for stage, _ in found) for number in range(1, 5))
    return next((depth for depth, known in UNITS.items() if known == units), None)


def network_of(path: Path, state: Mapping[str, Tensor]) -> IResNet:
    """The network with these weights. Raises InputError that names `path` and what is amiss."""
    depth = depth_of(list(state))
    head = state.get("fc.weight")
    if depth is None or head is None or head.ndim != 2:
        known = ", ".join(f"{d} {'-'.join(map(str, own))}" for d, own in UNITS.items())
        raise InputError(
            f"{path}: not the weights of an IResNet: expected fc.weight and units layer1.0 … "
            f"layer4.n of depth {known}; found {len(state)} keys, the first is {_first(state)!r}"
        )
    with torch.device("meta"):  # shapes alone: the file's numbers take their place
        network = IResNet(UNITS[depth], width=len(head))
    _check(path, depth, state, network.state_dict())
    tensors = {key: value.float() for key, value in state.items() if not key.endswith(OPTIONAL)}
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            tensors[f"{name}.{OPTIONAL}"] = torch.tensor(0)
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)


def _check(
    path: Path, depth: int, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> None:
    """Raises InputError for the first key that does not fit."""
    missing = [key for key in wanted if key not in state and not key.endswith(OPTIONAL)]
    strange = [key for key in state if key not in wanted]
    if missing or strange:
        what = f"lacks {missing[0]}" if missing else f"has {strange[0][:80]!r} as well"
        raise InputError(f"{path}: by its units an IResNet-{depth}, but it {what}")
    for key, value in state.items():
        if key.endswith(OPTIONAL):
            continue
        if fault := fault_of(value):
            raise InputError(f"{path}: {key} is {fault}, expected floating-point numbers")
        if value.shape != wanted[key].shape:
            raise InputError(
                f"{path}: {key} is {value.dtype} {list(value.shape)}, an IResNet-{depth} has "
                f"floating-point {list(wanted[key].shape)}"
            )
        sound = bool(value.isfinite().all())
        if not sound or (key.endswith("running_var") and bool((value < 0).any())):
            what = "a variance below zero" if sound else "numbers that are not finite"
            raise InputError(f"{path}: {key} holds {what}; bring the weights again")


def _first(state: Mapping[str, Tensor]) -> str:
    return next(iter(state), "")[:80]


def _keys(state: Mapping[Any, Any]) -> str:
    return ", ".join(str(key)[:40] for key in list(state)[:4])


def _read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file by their keys, and what a safetensors file says of itself."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; arcface-iresnet:PATH names a file with weights")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES} bytes")
    if path.suffix == ".onnx":
        raise InputError(f"{path}: an ONNX file; name it onnx:{path}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        state = read_torch_file(path)
    except UnreadableFile as error:
        raise InputError(
            f"{path}: not a state dict that torch.load(weights_only=True) reads ({error}); "
            "nothing of it was run; save network.state_dict() where you trust it"
        ) from None
    if not isinstance(state, Mapping):
        raise InputError(f"{path}: holds a {type(state).__name__}, expected a state dict")
    if not all(type(key) is str and isinstance(value, Tensor) for key, value in state.items()):
        raise InputError(
            f"{path}: not a state dict, which is nothing but tensors by their names; it has "
            f"{_keys(state)}; save what the network is alone, as by "
            "torch.save(checkpoint['state_dict_backbone'], FILE) of arcface_torch's checkpoints"
        )
    return {key.removeprefix("module."): value for key, value in state.items()}, {}


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a safetensors file ({str(error)[:120]})") from None


def _declaration(path: Path, metadata: Mapping[str, str]) -> Declaration:
    declared = declaration_of(path, metadata)
    unheeded = sorted(set(declared.values) - OWN_KEYS)
    if unheeded:
        raise InputError(
            f"{path}: declares {unheeded[0]}, which is fixed for an IResNet; only "
            f"{' and '.join(sorted(OWN_KEYS))} may be declared"
        )
    return declared
