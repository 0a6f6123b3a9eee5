"""What a process computes with: its modules as they were when it loaded them, and its libraries.

A module that is loaded does not change when its file does, nor a library when another version is
installed. So what another process made cannot be told from what lies on disk: each says for
itself what it runs. Comments and line breaks do not count.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
import sysconfig
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

OURS = ("manifests", "pipeline", "train", "eval")
# Those whose version may decide a byte of a store or a student.
LIBRARIES = (
    "torch", "numpy", "scipy", "zarr", "numcodecs", "dlib", "PIL", "pyarrow", "onnxruntime",
    "faiss", "timm", "safetensors",
)  # fmt: skip
STANDARD = sysconfig.get_path("stdlib")
PACKAGES = ("/site-packages/", "/dist-packages/")  # of whichever environment


@dataclass(frozen=True)
class Loaded:
    """What one process runs."""

    code: Mapping[str, str]  # {module: digest} of ours, and of others that are not installed
    libraries: Mapping[str, str]  # {name: version}, Python among them

    @classmethod
    def read(cls, path: Path) -> Loaded | None:
        """What `write_json(path, asdict(…))` wrote; None if nothing lies there."""
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def unlike(self, other: Loaded) -> str | None:
        """The first thing in which the other differs, of those that both have loaded, in words;
        None if they are alike."""
        for name, version in self.libraries.items():
            if other.libraries.get(name, version) != version:
                return f"{name} {other.libraries[name]}, here it is {version}"
        for name, digest in self.code.items():
            if other.code.get(name, digest) != digest:
                return f"another {name} ({other.code[name][:8]}, here it is {digest[:8]})"
        return None


def loaded() -> Loaded:
    """What this process runs by now."""
    versions = {name: getattr(sys.modules.get(name), "__version__", None) for name in LIBRARIES}
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Loaded(
        {name: _digest(source) for name, source in sorted(_SOURCES.items()) if name in sys.modules},
        {"Python": python} | {name: str(own) for name, own in versions.items() if own is not None},
    )


@cache
def _digest(source: bytes) -> str:
    return hashlib.sha256(ast.dump(ast.parse(source)).encode()).hexdigest()


_SOURCES: dict[str, bytes] = {}  # by module


class _Recorder(MetaPathFinder):
    """Keeps the source of each module that is about to be loaded; finds none itself."""

    # `path`: Any, as a namespace's is no Sequence.
    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> None:
        top = name.partition(".")[0]
        if path is None or top in OURS or top in _SOURCES:
            _keep(name, PathFinder.find_spec(name, path))


def _keep(name: str, spec: ModuleSpec | None) -> None:
    file = spec.origin if spec is not None and spec.has_location else None
    if not (file and file.endswith(".py")):
        return
    installed = file.startswith(STANDARD) or any(part in file for part in PACKAGES)
    if name.partition(".")[0] in OURS or not installed:
        with suppress(OSError):  # in a zip file
            _SOURCES[name] = Path(file).read_bytes()


for _name, _module in list(sys.modules.items()):
    _keep(_name, getattr(_module, "__spec__", None))
sys.meta_path.insert(0, _Recorder())
