"""Annotators, one file each, found by name."""

from __future__ import annotations

import sys

from eval.annotators.base import Annotator
from manifests.core.backends import find_backend


def load_annotator(text: str) -> Annotator:
    """The annotator that `text` names: measured, heads:PATH or onnx:PATH."""
    name, _, argument = text.partition(":")
    backend = find_backend(sys.modules[__name__], "annotator", name)
    annotator: Annotator = backend.load(argument)
    return annotator
