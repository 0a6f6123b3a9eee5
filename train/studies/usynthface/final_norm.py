"""USynthFace's last layer: its embedding is batch-normalised, with a scale that stays at 1.

Without it a random network's embeddings all point the same way, and contrast begins with nothing
to tell apart. In evaluation it is a linear map: folded into the student's last layer, it leaves a
student of the same architecture and size.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from manifests.core.errors import InputError


def with_final_norm(student: nn.Module) -> nn.Sequential:
    """The student followed by the normalisation, if it does not end in one of its own.

    Raises InputError for a student into which it could not be folded.
    """
    last = list(student.children())[-1]
    if isinstance(last, nn.BatchNorm1d):
        return nn.Sequential(student)
    if not isinstance(last, nn.Linear) or last.bias is None:
        raise InputError(
            "this student ends in neither a linear layer with a bias nor batch normalisation, "
            "one of which contrast needs; choose another train: student in params.yaml"
        )
    norm = nn.BatchNorm1d(last.out_features)
    norm.weight.requires_grad_(False)
    return nn.Sequential(student, norm)


@torch.no_grad()
def folded(network: nn.Sequential) -> nn.Module:
    """The student alone, whose last layer now does what the normalisation did in evaluation."""
    student = network[0]
    if len(network) > 1:
        norm, last = cast(nn.BatchNorm1d, network[1]), cast(nn.Linear, list(student.children())[-1])
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        last.weight.mul_(scale[:, None])
        last.bias.sub_(norm.running_mean).mul_(scale).add_(norm.bias)
    return student
