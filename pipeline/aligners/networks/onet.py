"""O-Net, the last of MTCNN's three networks (Zhang et al., IEEE SPL 2016): a face's five points,
and how much it looks like one, from 48 x 48 pixels about its box.

Weights: onet.pt of the wheel facenet-pytorch 2.6.0 (MIT).
"""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from manifests.core.errors import InputError
from pipeline.foreign.torch_files import UnreadableFile, read_torch_file, reason_of

WEIGHTS = "onet.pt"
SIZE = 48  # pixels that it looks at


class ONet(nn.Module):
    """RGB in [0, 255], float "face 3 48 48" -> "face 11": probability of a face, then x and y of
    the five points, in sides of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)  # not a face, a face
        self.dense6_2 = nn.Linear(256, 4)  # a better box, which is not asked for
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, pictures: Float[Tensor, "face 3 48 48"]) -> Float[Tensor, "face 11"]:
        x = (pictures - 127.5) / 128.0
        x = x.contiguous(memory_format=torch.channels_last)
        x = functional.max_pool2d(self.prelu1(self.conv1(x)), 3, 2, ceil_mode=True)
        x = functional.max_pool2d(self.prelu2(self.conv2(x)), 3, 2, ceil_mode=True)
        x = functional.max_pool2d(self.prelu3(self.conv3(x)), 2, 2, ceil_mode=True)
        x = self.prelu4(self.conv4(x))
        x = self.prelu5(self.dense5(x.permute(0, 3, 2, 1).flatten(1)))
        face = self.dense6_1(x).softmax(dim=1)[:, 1:]
        points = self.dense6_3(x).unflatten(1, (2, 5)).transpose(1, 2).flatten(1)
        return torch.cat([face, points], dim=1)


def load_network(path: Path) -> ONet:
    """The network with the weights of a file. Raises InputError if it holds others."""
    network = ONet()
    try:
        network.load_state_dict(read_torch_file(path))
    except (UnreadableFile, RuntimeError, TypeError, AttributeError) as error:
        reason = reason_of(error)
        raise InputError(
            f"{path}: not the weights of MTCNN's O-Net ({reason}); remove it and run "
            "`facestill weights`"
        ) from None
    network = network.eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
