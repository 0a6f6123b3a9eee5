"""Whether a stranger's network keeps what stores rest on: a row is a function of its own input.

A network that was exported as it is trained (dropout on, batch normalisation by the batch's own
statistics) runs without an error and gives rows that nobody can make again. So each is tried.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from manifests.core.errors import InputError

ROWS = 4  # that are looked at, among as many others
EPS = torch.finfo(torch.float32).eps


def check_pictures(
    network: Callable[[Tensor], Tensor], size: int, where: str, eps: float = EPS
) -> None:
    """Of a network that takes RGB pictures in [0, 255], `size` pixels a side; see `check_rows`."""
    noise = 255 * torch.rand(2 * ROWS, 3, size, size, generator=torch.Generator().manual_seed(0))
    rows, others = noise[:ROWS].round(), noise[ROWS:] / 8
    check_rows(network, rows, (others, 255 - others), f"{where}: pictures of noise", eps)


def check_latents(
    network: Callable[[Tensor], Tensor], width: int, where: str, eps: float = EPS
) -> None:
    """Of a network that draws, from standard normal latents; see `check_rows`."""
    drawn = torch.randn(2 * ROWS, width, generator=torch.Generator().manual_seed(0))
    rows, others = drawn[:ROWS], drawn[ROWS:]
    check_rows(network, rows, (others / 8, others * 2), f"{where}: latents", eps)


def check_rows(
    network: Callable[[Tensor], Tensor],
    rows: Tensor,
    company: tuple[Tensor, Tensor],
    what: str,
    eps: float,
) -> None:
    """Raises InputError for a network whose outputs for `rows` are no finite numbers, others the
    second time, or others in another order, beside the other company.

    The second time it is the same arithmetic: not a bit may differ. In another place a row may
    be summed in another order, so that half of its digits must agree: a distance of sqrt(eps) of
    its length, 3.5e-4 in float32, where `eps` is the relative rounding of the network's type.
    Measured on an AVX-512 CPU: in one batch shape no bit differed (dlib's ResNet, two students
    and an IResNet-50, in torch and in ONNX, float32 and float16, 2 to 64 rows); from one row
    alone, which has other kernels, rows lay up to 1.6e-6 of their length apart.
    """
    with torch.inference_mode():
        first, again = (network(torch.cat([rows, company[0]])) for _ in range(2))
        moved = network(torch.stack([company[1], rows.flip(0)], dim=1).flatten(0, 1))
    first, again = (each[: len(rows)].double().flatten(1) for each in (first, again))
    moved = moved[1::2].flip(0).double().flatten(1)
    if not first.isfinite().all():
        raise InputError(f"{what} give no finite numbers; check the network's weights")
    if not torch.equal(first, again):
        raise InputError(
            f"{what} give other rows the second time; export the network as it is used, without "
            "noise and dropout"
        )
    apart = (first - moved).norm(dim=1)
    if (apart > eps**0.5 * first.norm(dim=1)).any():
        raise InputError(
            f"{what} give rows that depend on the others of their batch (they move by up to "
            f"{_share(apart, first):.0%} of their length); export the network as it is used, "
            "normalising by fixed statistics, or for a batch of 1"
        )


def _share(apart: Tensor, rows: Tensor) -> float:
    return float((apart / rows.norm(dim=1).clamp(min=torch.finfo(rows.dtype).tiny)).max())
