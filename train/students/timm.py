"""`timm:NAME`: networks of the timm package (PyTorch Image Models), with random weights.

timm is not among this project's requirements, and needs a torchvision that fits the torch beside
it: `pip install -e '.[timm]'`. Its last layer becomes the embedding. Names are looked up in the
installed package only, so that none of them reaches for the net.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import torch
from torch import nn

from manifests.core.errors import InputError
from train.students.base import ToUnitRange


def build(*, variant: str, input_size: int, width: float, embedding_width: int) -> nn.Sequential:
    """Raises InputError if timm is not here or knows no such network, for a width other than 1,
    and for a network that does not take such pictures."""
    if width != 1.0:
        raise InputError(
            f"student timm:{variant}: width {width:g}, but timm's networks have their own; set "
            "train.student.width: 1.0"
        )
    timm = _timm(variant)
    if not timm.is_model(variant):
        like = ", ".join(timm.list_models(f"*{variant.partition('_')[0]}*")[:5])
        raise InputError(
            f"student timm:{variant}: timm {timm.__version__} has no such network"
            + (f"; it has {like} …" if like else "; see timm.list_models()")
        )
    body = timm.create_model(variant, pretrained=False, num_classes=embedding_width)
    network = nn.Sequential(ToUnitRange(), body)
    _check(network, variant, input_size, embedding_width)
    return network


def _timm(variant: str) -> ModuleType:
    try:
        return importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:  # the latter is torchvision's
        raise InputError(
            f"student timm:{variant}: timm cannot be imported ({error}); run pip install -e "
            "'.[timm]', or take another student"
        ) from None


def _check(network: nn.Module, variant: str, input_size: int, embedding_width: int) -> None:
    """One grey picture must become one embedding."""
    try:
        with torch.no_grad():
            found = tuple(network.eval()(torch.zeros(1, 3, input_size, input_size)).shape)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise InputError(
            f"student timm:{variant}: takes no pictures of {input_size} pixels ({error}); change "
            "train.student.input_size, or take another student"
        ) from None
    network.train()
    if found != (1, embedding_width):
        raise InputError(
            f"student timm:{variant}: gives {list(found)} for one picture, expected one embedding "
            f"of {embedding_width} numbers; take another student"
        )
