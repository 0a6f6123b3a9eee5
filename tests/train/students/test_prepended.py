"""The prepended block: the published layers, by a twin and by their number of parameters."""

from __future__ import annotations

import numpy as np
import torch

from tests.references import prepended
from train.students.base import num_params
from train.students.prepended import PrependedBlock


def some_pictures(count: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1)) * 255


def a_block(seed: int = 0) -> PrependedBlock:
    torch.manual_seed(seed)
    return PrependedBlock().eval().requires_grad_(False)


def test_it_has_the_parameters_of_the_released_module() -> None:
    by_hand = {
        "one": 3 * 6,
        "five": 3 * 3 + 3 * 6 * 25,
        "threes": 3 * 3 + 3 * 6 * 9 + 6 * 6 * 9,
        "pooled": 3 * 6,
        "attention": 2 * 24 * 6 + 2 * 49 + 1,
        "back": 24 * 3,
    }
    found = {name: num_params(part) for name, part in a_block().named_children()}
    assert found == by_hand and sum(found.values()) == 1449


def test_it_is_the_slow_twin_in_double_precision() -> None:
    block, picture = a_block().double(), some_pictures(1, 9, 7).double()
    weights = {name: tensor.numpy() for name, tensor in block.state_dict().items()}
    wanted = prepended.block(picture[0].numpy(), weights)
    np.testing.assert_allclose(block(picture)[0].numpy(), wanted, rtol=1e-10, atol=1e-10)


def test_a_picture_comes_out_in_its_own_size_whatever_stands_beside_it() -> None:
    block, pictures = a_block(), some_pictures(4, 12, 20)
    found = block(pictures)
    assert found.shape == pictures.shape
    alone = torch.cat([block(each[None]) for each in pictures])
    largest = found.abs().max()  # sums of at most 150 products, in another order
    torch.testing.assert_close(found, alone, rtol=0, atol=float(largest) * 150 * 2**-23)
