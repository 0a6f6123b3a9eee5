"""Files of StyleGANs that are not what they should be: one line, and nothing is executed."""

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

from manifests.core.errors import InputError
from tests.stylegans import (
    SMALL2,
    SMALL3,
    declare,
    load,
    network_of,
    storage_of,
    tensors_of,
    write_pickle,
    z_of,
)

OFFICIAL_NAMES = {  # that the files of the released code ask for
    "torch_utils.persistence _reconstruct_persistent_obj", "dnnlib.util EasyDict",
    "collections OrderedDict", "torch.storage _load_from_bytes", "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter", "numpy dtype", "numpy ndarray", "builtins set",
    "numpy._core.multiarray scalar", "numpy._core.multiarray _reconstruct",
}  # fmt: skip


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
        (b"ccollections\nOrderedDict\n(]((K\x00tK\x01tatR.", "a tuple as a key"),
        (b"cbuiltins\nset\n(](K\x00tatR.", "a tuple as a key"),
        (pickle.dumps([1, 2]), "holds a list, expected a dictionary with G_ema"),
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({5: 1}, "setting 5 is no name"),
        ({"mapping_kwargs": {b"num_layers": 2}}, "setting b'num_layers' is no name"),
        ({"c_dim": np.zeros(2)}, "a setting is <PickledArray>, expected numbers and texts"),
        ({"mapping_kwargs": {"num_layers": [b"2"]}}, "a setting is b'2', expected numbers"),
    ],
)
def test_settings_are_names_with_numbers_and_texts(
    tmp_path: Path, settings: dict[Any, Any], message: str
) -> None:
    path = write_pickle(tmp_path / "a.pkl", network_of(2, SMALL2), SMALL2 | settings)
    with pytest.raises(InputError, match=message):
        load(2, path)


def test_positional_arguments_are_refused_whatever_they_are(tmp_path: Path) -> None:
    for arguments in ((512,), np.zeros(2)):
        extra = {"_init_args": arguments}
        path = write_pickle(tmp_path / "a.pkl", network_of(2, SMALL2), SMALL2, extra=extra)
        with pytest.raises(InputError, match="does not say what it was made with, by name"):
            load(2, path)


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_setting_of_a_billion_parts_is_named_in_a_few_words(tmp_path: Path, kind: Any) -> None:
    """In the file, each level is there once."""
    value = kind([0] * 10)
    for _ in range(20):
        value = kind([value] * 10)
    path = write_pickle(tmp_path / "a.pkl", network_of(2, SMALL2), SMALL2 | {"img_channels": value})
    with pytest.raises(InputError, match=r"setting img_channels is [\[(]+\.\.\.") as caught:
        load(2, path)
    assert len(str(caught.value)) < 300 and path.stat().st_size < 1 << 20


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
            numbers = storage_of(torch.zeros(4))
            return torch._utils._rebuild_tensor_v2, (numbers, 0, (1 << 40,), (1,), False, {})

    extra = {"_x": Reaching()}
    path = write_pickle(tmp_path / "a.pkl", network_of(2, SMALL2), SMALL2, extra=extra)
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
        ({"img_resolution": 1 << 20}, "setting img_resolution is 1048576"),
        ({"channel_max": 8}, r"is \[16.*\], its settings \(16 pixels\) make it \[8"),
        ({"z_dim": 13}, r"mapping\.fc0\.weight is \[8, 12\], .* make it \[8, 13\]"),
        ({"z_dim": "12"}, "setting z_dim is '12', expected int"),
        ({"c_dim": 3}, "setting c_dim is 3, supported: 0"),
        ({"img_channels": 1}, "setting img_channels is 1, supported: 3"),
        ({"architecture": "resnet"}, "setting architecture is 'resnet', supported: skip"),
        ({"shear": 1}, "setting 'shear' is not known"),
        ({"mapping_kwargs": {"num_layers": 4}}, r"lacks mapping\.fc3\.bias"),
        (
            {"mapping_kwargs": {"num_layers": 1 << 20}},
            "setting mapping_num_layers is 1048576, expected int above 0, at most 64",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_settings_that_do_not_fit_the_tensors_are_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write_pickle(tmp_path / "a.pkl", network_of(2, SMALL2), SMALL2 | changes)
    with pytest.raises(InputError, match=rf"^{path}: .*{message}"):
        load(2, path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 65}, "setting num_layers is 65, expected int above 0, at most 64"),
        ({"filter_size": 1 << 20}, "setting filter_size is 1048576, .* at most 64"),
        ({"lrelu_upsampling": 1 << 20}, "setting lrelu_upsampling is 1048576, .* at most 16"),
        ({"first_cutoff": 1000.0}, "its settings make no network"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_settings_that_no_filters_are_made_of_are_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write_pickle(tmp_path / "a.pkl", network_of(3, SMALL3), SMALL3 | changes)
    with pytest.raises(InputError, match=rf"^{path}: .*{message}"):
        load(3, path)


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
        ('{"frame": "ffhq", "licence": "MIT", "psi": 1}', "of frame, .*, it has 'psi'"),
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
    with pytest.raises(InputError, match=r": a folder$"):
        load(2, tmp_path)
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
