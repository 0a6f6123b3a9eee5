"""Aligners: a file here each, an entry point of an installed package, or NAME:PATH."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path

from manifests.core.backends import load_backend
from pipeline.aligners.base import Aligner, check_aligner

GROUP = "facestill.aligners"  # entry points of other packages
DEFAULT = "yunet-onet"  # where nobody says


@lru_cache(maxsize=4)
def load_aligner(name: str, weights: Path) -> Aligner:
    """The aligner called `name`, with its weights from the folder `weights`; or NAME:PATH, one
    that lies in a file of its own. One a process."""
    aligner: Aligner = load_backend(sys.modules[__name__], "aligner", name, weights, group=GROUP)
    if not type(aligner).__module__.startswith(f"{__name__}."):  # of another package: tried
        check_aligner(aligner, f"aligner {name}")
    return aligner
