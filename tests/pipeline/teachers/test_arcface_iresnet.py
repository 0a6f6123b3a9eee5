"""IResNets: their published shape, by the keys of published checkpoints, against a slow twin."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from manifests.core.digests import sha256_file
from manifests.core.errors import InputError
from pipeline.teachers import load_teacher
from pipeline.teachers.arcface_iresnet import (
    CHANNELS,
    UNITS,
    ArcfaceIresnet,
    IResNet,
    depth_of,
    load_file,
    network_of,
)
from pipeline.teachers.base import Teacher
from tests import references
from tests.contracts import TeacherContract

NARROW = (4, 6, 6, 8)
# What arcface_torch's iresnet18 saves, beside units that only differ in their numbers.
PUBLISHED = """
conv1.weight bn1.weight bn1.bias bn1.running_mean bn1.running_var bn1.num_batches_tracked
prelu.weight layer1.0.bn1.weight layer1.0.bn1.bias layer1.0.bn1.running_mean
layer1.0.bn1.running_var layer1.0.bn1.num_batches_tracked layer1.0.conv1.weight
layer1.0.bn2.weight layer1.0.bn2.bias layer1.0.bn2.running_mean layer1.0.bn2.running_var
layer1.0.bn2.num_batches_tracked layer1.0.prelu.weight layer1.0.conv2.weight layer1.0.bn3.weight
layer1.0.bn3.bias layer1.0.bn3.running_mean layer1.0.bn3.running_var
layer1.0.bn3.num_batches_tracked layer1.0.downsample.0.weight layer1.0.downsample.1.weight
layer1.0.downsample.1.bias layer1.0.downsample.1.running_mean layer1.0.downsample.1.running_var
layer1.0.downsample.1.num_batches_tracked layer4.1.conv2.weight layer4.1.bn3.weight bn2.weight
bn2.bias bn2.running_mean bn2.running_var bn2.num_batches_tracked fc.weight fc.bias
features.weight features.bias features.running_mean features.running_var
features.num_batches_tracked
""".split()


def random_numbers(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network in use, with statistics as if it had been trained."""
    generator = torch.Generator().manual_seed(seed)
    for key, value in network.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5, generator=generator)
        elif key.endswith(("running_mean", "bias")):
            value.normal_(0.0, 0.1, generator=generator)
        elif value.ndim == 1 and value.is_floating_point():
            value.uniform_(0.2, 1.0, generator=generator)
    return network.eval().requires_grad_(False)


def pictures(count: int, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (count, 3, 112, 112)).astype(np.float32))


@pytest.fixture(scope="module")
def checkpoint() -> dict[str, Tensor]:
    """A state dict of the smallest, with random numbers; not to be changed."""
    torch.manual_seed(0)
    return random_numbers(IResNet(UNITS[18])).state_dict()


@pytest.fixture
def saved(checkpoint: dict[str, Tensor], tmp_path: Path) -> Path:
    path = tmp_path / "r18.safetensors"
    save_file(checkpoint, path)
    return path


class TestArcfaceIresnet(TeacherContract):
    """By a narrow network of the same make: the real ones take minutes for it."""

    @pytest.fixture(scope="class")
    @classmethod
    def teacher(cls) -> Teacher:
        torch.manual_seed(1)
        network = random_numbers(IResNet(UNITS[18], NARROW, width=16))
        assert isinstance(network, IResNet)
        return ArcfaceIresnet(network, "0" * 64, "narrow", "CC0-1.0")


@pytest.mark.parametrize(
    ("depth", "million"), [(18, 24.03), (34, 34.14), (50, 43.59), (100, 65.16)]
)
def test_number_of_parameters_is_that_of_the_published_network(depth: int, million: float) -> None:
    expected, width = 3 * 64 * 9 + 2 * 64 + 64, 64  # stem
    for channels, count in zip(CHANNELS, UNITS[depth], strict=True):
        first = 2 * width + 9 * width * channels + 9 * channels**2 + 5 * channels
        first += width * channels + 2 * channels  # the shortcut
        rest = 2 * channels + 18 * channels**2 + 5 * channels
        expected, width = expected + first + (count - 1) * rest, channels
    expected += 2 * 512 + (512 * 7 * 7 + 1) * 512 + 2 * 512
    with torch.device("meta"):
        found = sum(own.numel() for own in IResNet(UNITS[depth]).parameters())
    assert found == expected
    assert round(found / 1e6, 2) == million


def test_keys_are_those_of_published_checkpoints(checkpoint: dict[str, Tensor]) -> None:
    assert set(PUBLISHED) <= set(checkpoint)
    units = 2 * 4 * 18 + 4 * 6  # 3 norms of 5 and 3 weights each; the first has a shortcut
    assert len(checkpoint) == 1 + 5 + 1 + units + 5 + 2 + 5


@pytest.mark.parametrize("units", [(1, 1, 1, 1), (2, 1, 1, 2)])
def test_forward_is_that_of_the_slow_twin(units: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    network = random_numbers(IResNet(units, (2, 3, 3, 4), width=5))
    state = {key: value.double().numpy() for key, value in network.state_dict().items()}
    image = pictures(1)
    expected = references.iresnet(image[0].double().numpy(), state)
    np.testing.assert_allclose(network(image)[0].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_a_network_that_can_be_worked_out_by_hand() -> None:
    """Every convolution passes its middle through, every unit adds what comes in to itself: the
    grey of a picture is doubled in each of four stages."""
    network = IResNet((1, 1, 1, 1), (1, 1, 1, 1), width=1).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.zero_()[
                    :, 0, module.kernel_size[0] // 2, module.kernel_size[1] // 2
                ] = 1
        network.fc.weight.fill_(1 / 49)
        network.fc.bias.fill_(0.25)
        grey = torch.full((1, 3, 112, 112), 191.25)  # 0.5 after (x - 127.5) / 127.5
        assert network(grey).item() == pytest.approx(0.5 * 2**4 + 0.25, rel=1e-3)


class TestFiles:
    def test_what_is_saved_is_what_computes(
        self, saved: Path, checkpoint: dict[str, Tensor]
    ) -> None:
        teacher = load_teacher(f"arcface-iresnet:{saved}", Path("weights"))
        network = IResNet(UNITS[18]).eval()
        network.load_state_dict(checkpoint)
        image = pictures(2)
        with torch.inference_mode():
            expected = network(image)
            np.testing.assert_allclose(teacher.embed(image), expected, rtol=1e-3, atol=1e-4)
        assert (teacher.name, teacher.width, teacher.metric) == ("r18", 512, "cosine")
        assert teacher.frame.name == "arcface112" and teacher.licence == "not stated"
        assert teacher.weights_sha256 == sha256_file(saved)

    def test_a_torch_file_of_halves_by_several_gpus_is_read(
        self, checkpoint: dict[str, Tensor], tmp_path: Path
    ) -> None:
        floats = {key: value for key, value in checkpoint.items() if not key.endswith("tracked")}
        torch.save({f"module.{k}": v.half() for k, v in floats.items()}, tmp_path / "backbone.pth")
        found = load_file(tmp_path / "backbone.pth").network.state_dict()
        for key, value in floats.items():
            assert torch.equal(found[key], value.half().float()), key

    def test_name_and_licence_are_declared_beside_the_file(self, saved: Path) -> None:
        beside = saved.with_name(f"{saved.name}.json")
        beside.write_text(json.dumps({"name": "webface-r18", "licence": "non-commercial"}))
        teacher = load_file(saved)
        assert (teacher.name, teacher.licence) == ("webface-r18", "non-commercial")
        beside.write_text(json.dumps({"colours": "bgr"}))
        with pytest.raises(InputError, match="declares colours, which is fixed for an IResNet"):
            load_file(saved)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"fc.bias": None}, "by its units an IResNet-18, but it lacks fc.bias"),
            ({"bn2.running_var": None}, "but it lacks bn2.running_var"),
            ({"kernel": torch.ones(3)}, "but it has 'kernel' as well"),
            ({"fc.weight": None}, "not the weights of an IResNet: expected fc.weight"),
            ({"fc.weight": torch.ones(512, 7)}, r"fc.weight is torch.float32 \[512, 7\], an IRes"),
            ({"conv1.weight": torch.ones(64, 3, 3, 3, dtype=torch.int8)}, "is torch.int8"),
            ({"prelu.weight": torch.full((64,), torch.nan)}, "prelu.weight holds numbers that are"),
            ({"bn1.running_var": -torch.ones(64)}, "bn1.running_var holds a variance below zero"),
            ({"layer3.2.bn1.weight": torch.ones(256)}, "expected fc.weight and units .*100 3-13-3"),
        ],
    )
    def test_what_does_not_fit_is_named(
        self, checkpoint: dict[str, Tensor], changes: dict[str, Tensor | None], message: str
    ) -> None:
        state = {key: value for key, value in (checkpoint | changes).items() if value is not None}
        with pytest.raises(InputError, match=rf"^w\.pth: .*{message}"):
            network_of(Path("w.pth"), state)

    @pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
    @pytest.mark.parametrize("content", [b"", b"hello" * 99, b"PK\x03\x04" + bytes(99)])
    def test_other_files_are_not_taken_for_weights(
        self, tmp_path: Path, name: str, content: bytes
    ) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}: not a s(afetensors file|tate dict)"):
            load_file(tmp_path / name)

    def test_code_in_a_file_is_not_run(self, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> object:
                return os.mkdir, (str(tmp_path / "run"),)

        torch.save({"conv1.weight": Evil()}, tmp_path / "a.pth")
        with pytest.raises(InputError, match="nothing of it was run"):
            load_file(tmp_path / "a.pth")
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("content", [[torch.ones(1)], {"epoch": 3}, {1: torch.ones(1)}])
    def test_what_is_no_state_dict_is_refused(self, tmp_path: Path, content: object) -> None:
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(InputError, match=r"expected a state dict|nothing but tensors"):
            load_file(tmp_path / "a.pth")

    def test_a_checkpoint_of_training_is_told_what_to_save(self, tmp_path: Path) -> None:
        content = {"epoch": 3, "state_dict_backbone": {"conv1.weight": torch.ones(1)}}
        torch.save(content, tmp_path / "checkpoint_gpu_0.pt")
        with pytest.raises(InputError, match=r"it has epoch, state_dict_backbone; save what"):
            load_file(tmp_path / "checkpoint_gpu_0.pt")

    def test_an_onnx_file_is_sent_to_its_kind(self, tmp_path: Path) -> None:
        (tmp_path / "a.onnx").touch()
        with pytest.raises(InputError, match=r"an ONNX file; name it onnx:.*a\.onnx"):
            load_file(tmp_path / "a.onnx")

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"none\.pth: no such file"):
            load_file(tmp_path / "none.pth")


def test_depth_is_read_from_the_keys() -> None:
    for depth, units in UNITS.items():
        with torch.device("meta"):
            assert depth_of(list(IResNet(units).state_dict())) == depth
    assert depth_of(["layer1.0.bn1.weight"]) is None
    assert depth_of([]) is None
