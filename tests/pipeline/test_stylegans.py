"""StyleGAN2 and StyleGAN3 from official files: pictures, spaces, and what is refused."""

from __future__ import annotations

import os
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from manifests.errors import InputError
from pipeline.frames import ARCFACE112, between
from pipeline.generators import load_generator
from pipeline.generators.base import Generator
from pipeline.generators.stylegan.alignment import crop_box, ffhq_frame
from tests.contracts import GeneratorContract
from tests.stylegans import (
    LICENCE,
    RADIAL,
    SMALL2,
    SMALL3,
    declare,
    flat,
    network_of,
    tensors_of,
    write_pickle,
)

OFFICIAL_NAMES = {  # that the files of the released code ask for
    "torch_utils.persistence _reconstruct_persistent_obj", "dnnlib.util EasyDict",
    "collections OrderedDict", "torch.storage _load_from_bytes", "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter", "numpy dtype", "numpy ndarray", "builtins set",
    "numpy._core.multiarray scalar", "numpy._core.multiarray _reconstruct",
}  # fmt: skip


def load(kind: int, path: Path) -> Any:
    return load_generator(f"stylegan{kind}:{path}", Path("weights"))


def z_of(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, 12, generator=torch.Generator().manual_seed(seed))


def by_network(network: Any, w: torch.Tensor) -> torch.Tensor:
    ws = w[:, None].expand(-1, network.num_ws, -1)
    return ((network.synthesis(ws).clamp(-1, 1) + 1) * 127.5).round()


@pytest.fixture(scope="module")
def style2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("style2") / "small-2.pkl"
    return write_pickle(path, network_of(2, SMALL2), SMALL2)


@pytest.fixture(scope="module")
def style3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("style3") / "small-3.pkl"
    given = SMALL3 | RADIAL
    return write_pickle(path, network_of(3, given), given)


class TestStyleGan2(GeneratorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def generator(cls, style2: Path) -> Generator:
        return load(2, style2)


class TestStyleGan2InW(GeneratorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def generator(cls, style2: Path) -> Generator:
        return load(2, style2).settled("w", 0.7)


class TestStyleGan3InWPlus(GeneratorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def generator(cls, style3: Path) -> Generator:
        return load(3, style3).settled("w+", 0.5)


@pytest.mark.parametrize(
    ("kind", "given"), [(2, SMALL2), (3, SMALL3), (3, SMALL3 | RADIAL)], ids=["2", "3-T", "3-R"]
)
@pytest.mark.parametrize("protocol", [3, 4])
def test_pictures_of_a_pickle_are_those_of_its_network(
    tmp_path: Path, kind: int, given: dict[str, Any], protocol: int
) -> None:
    network = network_of(kind, given)
    path = write_pickle(tmp_path / "a.pkl", network, given, protocol=protocol)
    generator = load(kind, path)
    pictures = generator.render(z_of(5))
    assert torch.equal(pictures, by_network(network, network.mapping(z_of(5))))
    inside = (pictures > 0) & (pictures < 255)
    assert inside.float().mean() > 0.3
    assert generator.name == "a" and generator.licence == LICENCE


def test_the_test_s_pickles_ask_for_what_official_ones_do(tmp_path: Path) -> None:
    path = write_pickle(tmp_path / "a.pkl", network_of(2, SMALL2), SMALL2, protocol=3)
    operations = pickletools.genops(path.read_bytes())
    assert {argument for op, argument, _ in operations if op.name == "GLOBAL"} == OFFICIAL_NAMES


def test_the_text_of_a_module_in_a_file_is_not_executed(tmp_path: Path) -> None:
    source = f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
    path = write_pickle(tmp_path / "a.pkl", network_of(2, SMALL2), SMALL2, source=source)
    load(2, path).render(z_of(1))
    assert source.encode() in path.read_bytes() and not (tmp_path / "ran").exists()
    exec(source)  # noqa: S102
    assert (tmp_path / "ran").exists()  # it would have been seen


def test_stylegan2_ada_keeps_its_synthesis_settings_apart(tmp_path: Path) -> None:
    apart = ("channel_base", "channel_max", "num_fp16_res", "conv_clamp")
    given = {name: value for name, value in SMALL2.items() if name not in apart}
    given |= {"synthesis_kwargs": {name: SMALL2[name] for name in apart}, "conv_clamp": 256}
    network = network_of(2, SMALL2)
    pictures = load(2, write_pickle(tmp_path / "a.pkl", network, given)).render(z_of(2))
    assert torch.equal(pictures, by_network(network, network.mapping(z_of(2))))


def test_the_clamp_of_stylegan2_is_the_layers_own(tmp_path: Path) -> None:
    """Its default differs between the official releases, so that a file need not name it."""
    clamped = network_of(2, SMALL2 | {"conv_clamp": 0.5})
    made_with = {name: value for name, value in SMALL2.items() if name != "conv_clamp"}
    path = write_pickle(tmp_path / "a.pkl", clamped, made_with, inner={"conv_clamp": 0.5})
    pictures = load(2, path).render(z_of(2))
    assert torch.equal(pictures, by_network(clamped, clamped.mapping(z_of(2))))
    free = network_of(2, SMALL2)
    assert not torch.equal(pictures, by_network(free, free.mapping(z_of(2))))


@pytest.mark.parametrize(("kind", "given"), [(2, SMALL2), (3, SMALL3)])
def test_safetensors_with_settings_give_the_same_pictures(
    tmp_path: Path, kind: int, given: dict[str, Any]
) -> None:
    network = network_of(kind, given)
    pickled = load(kind, write_pickle(tmp_path / "a.pkl", network, given))
    path = tmp_path / "a.safetensors"
    save_file({name: own.clone() for name, own in tensors_of(network).items()}, path)
    named = {n: v for n, v in flat(given).items() if not n.startswith("mapping_")}
    declare(path, settings=named | {"mapping_kwargs": given["mapping_kwargs"]})
    generator = load(kind, path)
    assert torch.equal(generator.render(z_of(3)), pickled.render(z_of(3)))
    assert generator.weights_sha256 != pickled.weights_sha256


def test_w_and_z_are_two_ways_to_one_picture(style2: Path) -> None:
    in_z = load(2, style2).settled("z", 0.6)
    in_w, in_ws = in_z.settled("w", 0.6), in_z.settled("w+", 0.6)
    w = in_w.map(z_of(4))
    assert (in_z.latent_width, in_w.latent_width, in_ws.latent_width) == (12, 8, 48)
    pictures = in_z.render(z_of(4))
    assert torch.equal(in_w.render(w), pictures)
    assert torch.equal(in_ws.render(in_ws.map(z_of(4))), pictures)
    assert in_z.identity() != load(2, style2).identity()  # psi is part of what z means


def test_truncation_goes_from_the_mean_of_w_to_w(style2: Path) -> None:
    generator = load(2, style2)
    network = generator.network
    w, mean = network.mapping(z_of(4)), network.mapping.w_avg
    found = generator.settled("w", 0.25).map(z_of(4))
    torch.testing.assert_close(found, mean + 0.25 * (w - mean))
    torch.testing.assert_close(generator.settled("w", 0.0).map(z_of(4)), mean.expand(4, -1))
    assert torch.equal(generator.settled("w", 1.0).map(z_of(4)), w)


def test_layers_of_w_plus_are_the_synthesis_s_own(style2: Path) -> None:
    generator = load(2, style2).settled("w+", 1.0)
    latents = generator.map(z_of(1)).repeat(6, 1)
    for layer in range(6):
        latents[layer, layer * 8 : layer * 8 + 8] += 1.0
    pictures = generator.render(torch.cat([generator.map(z_of(1)), latents]))
    assert len(torch.unique(pictures, dim=0)) == 7


def test_memory_is_bounded_by_rendering_few_at_a_time(
    style2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load(2, style2)
    whole = generator.render(z_of(7))
    monkeypatch.setattr("pipeline.generators.stylegan.backend.PIXELS", 3 * 16 * 16)
    assert (generator.render(z_of(7)) - whole).abs().max() <= 1.0


@pytest.mark.parametrize(
    ("size", "box"), [(256, (21, 22, 213)), (1024, (84, 86, 858)), (512, (42, 43, 429))]
)
def test_ffhq_faces_are_cropped_as_published(size: int, box: tuple[int, int, int]) -> None:
    """SynthDistill's released code: rows 21 to 233 and columns 22 to 234 of 256 pixels."""
    assert crop_box(size) == box
    top, left, side = box
    to_source = between(ffhq_frame(size), ARCFACE112)
    first, last = to_source @ (0.0, 0.0, 1.0), to_source @ (112.0, 112.0, 1.0)
    np.testing.assert_allclose(first, (left, top), atol=1e-9)
    np.testing.assert_allclose(last, (left + side, top + side), atol=1e-9)
    eyes = np.array([[380, 480], [650, 480]]) * size / 1024
    back = between(ARCFACE112, ffhq_frame(size))
    there = np.array([back @ (*eye, 1.0) for eye in eyes])
    np.testing.assert_allclose(there, [[38.29, 51.6], [73.53, 51.6]], atol=0.6)


def test_frame_and_name_are_declared_beside_the_file(tmp_path: Path) -> None:
    path = write_pickle(tmp_path / "a.pkl", network_of(2, SMALL2), SMALL2)
    assert load(2, path).frame == ffhq_frame(16)
    declare(path, frame="detect", name="mine")
    generator = load(2, path)
    assert generator.frame is None and generator.name == "mine"


class Attack:
    """What a pickle of it would do is run a command that leaves a file behind."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


NESTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "as an attribute": lambda attack: {"_hook": attack},
    "as a setting": lambda attack: {"_init_kwargs": {"z_dim": attack}},
    "as a module": lambda attack: {"_modules": {"mapping": attack}},
    "deep": lambda attack: {"_buffers": [({"x": [attack]},)]},
}


@pytest.mark.parametrize("nest", NESTS.values(), ids=NESTS)
def test_a_command_in_a_pickle_is_refused_by_name_and_not_run(
    tmp_path: Path, nest: Callable[[Any], dict[str, Any]]
) -> None:
    target = tmp_path / "ran"
    path = write_pickle(
        tmp_path / "a.pkl", network_of(2, SMALL2), SMALL2, extra=nest(Attack(target))
    )
    with pytest.raises(InputError, match=r"a\.pkl: it asks for posix\.system; refused, it was"):
        load(2, path)
    assert not target.exists()


def test_a_command_in_a_tensor_s_numbers_is_refused_and_not_run(tmp_path: Path) -> None:
    """A storage is a file within the file, with pickles of its own."""
    target = tmp_path / "ran"

    class Storage:
        def __reduce__(self) -> tuple[Any, ...]:
            inner = b"".join(
                pickle.dumps(part, 2)
                for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, Attack(target))
            )
            return torch.storage._load_from_bytes, (inner,)

    path = write_pickle(
        tmp_path / "a.pkl", network_of(2, SMALL2), SMALL2, extra={"_hook": Storage()}
    )
    with pytest.raises(InputError, match=r"tensor's numbers cannot be read \(.*posix\.system"):
        load(2, path)
    assert not target.exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"c__main__\n<lambda>\n(tR.", r"it asks for __main__\.<lambda>; refused"),
        (
            b"\x80\x04\x8c\x08__main__\x8c\x13f.<locals>.<lambda>\x93.",
            r"asks for __main__\.f\.<l",
        ),
        (b"cdnnlib.tflib.network\nNetwork\n.", r"asks for dnnlib\.tflib\.network\.Network"),
        (b"cposix\nsystem\n(S'id'\ntR.", r"it asks for posix\.system; refused"),
        (b"", "not a pickle that can be read"),
        (b"PK\x03\x04" * 99, "not a pickle|asks for"),
        (pickle.dumps([1, 2]), "holds <class 'list'>, expected a dictionary with G_ema"),
        (pickle.dumps({"G": 1}), r"holds \['G'\], expected a dictionary with G_ema"),
        (pickle.dumps({"G_ema": {"z_dim": 512}}), "G_ema is a dict, expected a Generator"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_other_pickles_are_refused_in_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    path = declare(tmp_path / "a.pkl")
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        load(2, path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_pickle_is_refused(style2: Path, tmp_path: Path, share: float) -> None:
    path = declare(tmp_path / "a.pkl")
    whole = style2.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"a\.pkl: not a pickle that can be read"):
        load(2, path)


def test_a_tensor_that_reaches_past_its_numbers_is_refused(tmp_path: Path) -> None:
    class Reaching:
        def __reduce__(self) -> tuple[Any, ...]:
            storage = torch.zeros(4).storage()
            return torch._utils._rebuild_tensor_v2, (storage, 0, (1 << 40,), (1,), False, {})

    with pytest.warns(UserWarning, match="TypedStorage"):
        path = write_pickle(
            tmp_path / "a.pkl", network_of(2, SMALL2), SMALL2, extra={"_x": Reaching()}
        )
    with pytest.raises(InputError, match=r"not a pickle that can be read \(RuntimeError"):
        load(2, path)


def test_a_network_of_another_class_is_refused(tmp_path: Path) -> None:
    network = network_of(2, SMALL2)
    path = write_pickle(tmp_path / "a.pkl", network, SMALL2, class_name="Discriminator")
    with pytest.raises(InputError, match=r"G_ema is a Discriminator, expected a Generator"):
        load(2, path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"img_resolution": 32}, r"lacks synthesis\.b32\.conv0\.\w+.* \(32 pixels\)"),
        ({"img_resolution": 8}, r"has synthesis\.b16\.conv0\.\w+.* \(8 pixels\)"),
        ({"img_resolution": 24}, "img_resolution 24, expected a power of two"),
        ({"img_resolution": 1 << 20}, "setting img_resolution is '1048576'"),
        ({"channel_max": 8}, r"is \[16.*\], its settings \(16 pixels\) make it \[8"),
        ({"z_dim": 13}, r"mapping\.fc0\.weight is \[8, 12\], .* make it \[8, 13\]"),
        ({"z_dim": "12"}, "setting z_dim is '12', expected int"),
        ({"c_dim": 3}, "setting c_dim is '3', supported: 0"),
        ({"img_channels": 1}, "setting img_channels is '1', supported: 3"),
        ({"architecture": "resnet"}, "setting architecture is 'resnet', supported: skip"),
        ({"shear": 1}, "setting 'shear' is not known"),
        ({"mapping_kwargs": {"num_layers": 4}}, r"lacks mapping\.fc3\.bias"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_settings_that_do_not_fit_the_tensors_are_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write_pickle(tmp_path / "a.pkl", network_of(2, SMALL2), SMALL2 | changes)
    with pytest.raises(InputError, match=rf"^{path}: .*{message}"):
        load(2, path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["synthesis.b8.conv0.weight", "mapping.w_avg"])
def test_a_number_that_is_none_is_named(tmp_path: Path, name: str, value: float) -> None:
    network = network_of(2, SMALL2)
    network.state_dict()[name].flatten()[1] = value
    path = write_pickle(tmp_path / "a.pkl", network, SMALL2)
    with pytest.raises(InputError, match=rf"a\.pkl: {name} holds NaN or infinity"):
        load(2, path)


def test_another_resampling_filter_is_refused(tmp_path: Path) -> None:
    network = network_of(2, SMALL2)
    tensors = {n: v * 2 if "filter" in n else v for n, v in tensors_of(network).items()}
    path = write_pickle(tmp_path / "a.pkl", network, SMALL2, tensors=tensors)
    with pytest.raises(InputError, match=r"resample_filter is another filter than \[1, 3, 3, 1\]"):
        load(2, path)


def test_each_kind_sends_to_the_other(style2: Path, style3: Path) -> None:
    with pytest.raises(InputError, match=r"a StyleGAN2; name it stylegan2:.*small-2\.pkl"):
        load(3, style2)
    with pytest.raises(InputError, match=r"a StyleGAN3; name it stylegan3:.*small-3\.pkl"):
        load(2, style3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"a\.pkl\.json: no such file; .*\"frame\": \"ffhq\""),
        ("{", "not JSON"),
        ("[]", "expected one JSON object of frame, licence, name, settings"),
        ('{"frame": "ffhq", "licence": "MIT", "psi": 1}', "expected one JSON object of frame"),
        ('{"frame": "arcface", "licence": "MIT"}', "frame one of ffhq, detect"),
        ('{"frame": "ffhq"}', "expected a licence"),
        ('{"frame": "ffhq", "licence": "MIT", "name": "../x"}', "a name has letters"),
        ('{"frame": "ffhq", "licence": "MIT", "settings": {"a": 1}}', "are for safetensors"),
    ],
)
def test_what_is_not_declared_is_asked_for(
    style2: Path, tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(style2.read_bytes())
    if text is not None:
        (tmp_path / "a.pkl.json").write_text(text)
    with pytest.raises(InputError, match=message):
        load(2, path)


def test_no_file_and_no_safetensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pkl: no such file"):
        load(2, tmp_path / "none.pkl")
    path = declare(tmp_path / "a.safetensors")
    path.write_bytes(b"x" * 100)
    with pytest.raises(InputError, match=r"a\.safetensors: not a safetensors file"):
        load(2, path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="setting img_resolution is missing"):
        load(2, path)
    declare(path, settings={"img_resolution": 16})
    with pytest.raises(InputError, match=r"lacks mapping\.fc0\.bias"):
        load(2, path)
