"""What every student must keep. Inherit the suite and say which student is meant."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from train.checkpoint import FILE, StudentCard, load_student, save_student
from train.students import build_student
from train.students.base import ToUnitRange, num_params

SIZES = (64, 80, 96, 112)


def build(
    name: str, size: int = 64, *, width: float = 1.0, outputs: int = 128, seed: int = 0
) -> nn.Sequential:
    """A student in evaluation mode."""
    torch.manual_seed(seed)
    network = build_student(name, input_size=size, width=width, embedding_width=outputs)
    assert isinstance(network, nn.Sequential)
    return network.eval()


def count(name: str, *, size: int = 112, width: float = 1.0, outputs: int = 512) -> int:
    """Parameters of a student, of which none is allocated."""
    with torch.device("meta"):
        return num_params(build(name, size, width=width, outputs=outputs))


def pictures(count: int, size: int = 64) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 255


def settled(network: nn.Sequential) -> nn.Sequential:
    """In evaluation mode, as after training: with the running statistics of some pictures."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # the mean of all batches, of which there is one
    with torch.no_grad():
        network.train()(pictures(8))
    return network.eval()


class StudentContract:
    """`name` of the student; a `width` that spares a test's time, the `outputs` of its own."""

    name: ClassVar[str]
    width: ClassVar[float] = 1.0
    outputs: ClassVar[int] = 32

    def build(self, size: int = 64, seed: int = 0) -> nn.Sequential:
        return build(self.name, size, width=self.width, outputs=self.outputs, seed=seed)

    @pytest.mark.parametrize("size", SIZES)
    def test_one_embedding_a_face(self, size: int) -> None:
        embeddings = self.build(size)(pictures(2, size))
        assert embeddings.shape == (2, self.outputs)
        assert embeddings.dtype == torch.float32
        assert embeddings.isfinite().all()

    @pytest.mark.parametrize("size", [65, 100, 111])
    def test_sizes_that_do_not_halve_evenly(self, size: int) -> None:
        with torch.device("meta"):  # shapes alone
            assert self.build(size)(torch.zeros(2, 3, size, size)).shape == (2, self.outputs)

    def test_a_seed_decides_the_weights(self) -> None:
        first, again, other = (self.build(seed=seed).state_dict() for seed in (3, 3, 4))
        assert all(torch.equal(first[key], again[key]) for key in first)
        assert any(not torch.equal(first[key], other[key]) for key in first)

    def test_a_faces_embedding_does_not_depend_on_its_neighbours(self) -> None:
        network, images = settled(self.build()), pictures(4)
        together = network(images)
        torch.testing.assert_close(network(images[2:3]), together[2:3], rtol=1e-3, atol=1e-5)

    def test_different_faces_have_different_embeddings(self) -> None:
        assert len(torch.unique(settled(self.build())(pictures(4)), dim=0)) == 4

    def test_the_layout_in_memory_does_not_matter(self) -> None:
        network, images = settled(self.build()), pictures(2)
        rows = images.contiguous()
        channels = images.contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(network(channels), network(rows), rtol=1e-3, atol=1e-5)

    def test_filters_lie_channels_last(self) -> None:
        filters = [own.weight for own in self.build().modules() if isinstance(own, nn.Conv2d)]
        assert all(own.is_contiguous(memory_format=torch.channels_last) for own in filters)

    def test_gradients_reach_every_parameter(self) -> None:
        network = settled(self.build())
        network(pictures(3)).square().mean().backward()
        without = [
            name
            for name, own in network.named_parameters()
            if own.grad is None or not own.grad.isfinite().all() or not own.grad.any()
        ]
        assert not without

    def test_it_learns(self) -> None:
        """A few steps bring four faces nearer to their targets."""
        network, images = self.build().train(), pictures(4)
        targets = torch.randn(4, self.outputs, generator=torch.Generator().manual_seed(2))
        optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
        losses = []
        for _ in range(5):
            loss = (network(images) - targets).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.9 * losses[0]

    def test_normalisation_is_part_of_the_network(self) -> None:
        network, images = self.build(), pictures(1)
        assert isinstance(network[0], ToUnitRange)
        torch.testing.assert_close(network[0](images), (images - 127.5) / 128)

    def test_it_survives_a_checkpoint(self, tmp_path: Path) -> None:
        network = self.build()
        card = StudentCard(
            self.name, 64, self.width, self.outputs, "arcface112", "cosine", "plain", "{}",
            "0" * 64, "unknown", 0,
        )  # fmt: skip
        save_student(tmp_path / FILE, network, card)
        images = pictures(1)
        assert torch.equal(load_student(tmp_path).network(images), network(images))


def rewritten(path: Path, **changes: str | None) -> None:
    """The checkpoint at `path` with other metadata; None: without the key."""
    with safe_open(path, framework="pt") as opened:
        metadata = opened.metadata() | changes
    save_file(load_file(path), path, {key: v for key, v in metadata.items() if v is not None})
