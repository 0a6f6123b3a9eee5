"""Finding and building students."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from manifests.core.errors import InputError
from pipeline.arrays.frames import ARCFACE112, DLIB150, WIDE, Frame, between, to_frame
from tests.students import build, count, pictures, rewritten
from train.checkpoint import FILE, StudentCard, load_student, save_student
from train.students import build_student, student_names
from train.students.base import num_params, scaled, side_after

CARD = StudentCard(
    "small-resnet", 64, 0.25, 48, "arcface112", "cosine", "plain", "{}", "0" * 64, "unknown", 0, 16
)


def test_unknown_student_lists_the_valid_names() -> None:
    with pytest.raises(InputError, match=r"valid names: edgeface-s, .*timm:NAME, tinyfar-a"):
        build("resnet-9000")


@pytest.mark.parametrize("name", ["", "tinyfar", "tinyfar-d", "base", "timm", "../base", "small"])
def test_half_a_name_is_none(name: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"unknown student {name!r}")):
        build(name)


def test_every_name_builds_a_student() -> None:
    names = student_names()
    assert len(names) == 20
    for name in names:
        outputs = int(name[-3:]) if name.startswith("pocketnet") else 8
        with torch.device("meta"):
            network = build(name, outputs=outputs)
            assert network(torch.zeros(1, 3, 64, 64)).shape == (1, outputs), name


@pytest.mark.parametrize("name", student_names())
def test_a_narrower_student_has_fewer_parameters(name: str) -> None:
    outputs = int(name[-3:]) if name.startswith("pocketnet") else 8
    with torch.device("meta"):
        params = [num_params(build(name, width=w, outputs=outputs)) for w in (0.25, 0.5, 1.0, 1.5)]
    assert params == sorted(set(params))


@pytest.mark.parametrize(
    ("name", "size", "width", "params"),
    [
        ("small-resnet", 64, 0.59, 981_712),
        ("small-resnet", 112, 0.59, 986_728),
        ("mobilefacenet", 64, 1.03, 990_672),
        ("mobilefacenet", 112, 0.97, 998_176),
        ("pocketnet-s128", 64, 1.24, 988_056),
        ("pocketnet-s128", 112, 1.21, 997_808),
        ("tinyfar-c", 64, 0.84, 997_512),
        ("edgeface-xxs", 64, 0.91, 975_720),
        ("iresnet-18", 64, 0.25, 964_480),
    ],
)
def test_the_widest_student_of_a_million_parameters(
    name: str, size: int, width: float, params: int
) -> None:
    assert count(name, size=size, width=width, outputs=128) == params
    assert count(name, size=size, width=width + 0.01, outputs=128) > 1_000_000


@pytest.mark.parametrize("sizes", [(0, 1.0, 8), (64, 0.0, 8), (64, -1.0, 8), (64, math.nan, 8)])
def test_sizes_that_no_network_has(sizes: tuple[int, float, int]) -> None:
    with pytest.raises(InputError, match=r"small-resnet: input_size .* must all be above 0"):
        build("small-resnet", sizes[0], width=sizes[1], outputs=sizes[2])


def projected() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_student(
        "small-resnet", input_size=64, width=0.25, embedding_width=48, projected_from=16
    ).eval()


def test_a_projection_is_one_linear_layer_after_the_students_own_embedding() -> None:
    network, images = projected(), pictures(2)
    own = build("small-resnet", width=0.25, outputs=16)
    last = list(network.children())[-1]
    torch.testing.assert_close(network(images), last(own(images)))
    assert torch.linalg.matrix_rank(network(pictures(40)).detach(), rtol=1e-4) <= 17


def test_a_projected_student_survives_a_checkpoint(tmp_path: Path) -> None:
    save_student(tmp_path / FILE, projected(), CARD)
    loaded = load_student(tmp_path)
    assert loaded.card == CARD
    assert torch.equal(loaded.network(pictures(1)), projected()(pictures(1)))


def test_a_checkpoint_from_before_there_were_projections(tmp_path: Path) -> None:
    network = build("small-resnet", width=0.25, outputs=48)
    save_student(tmp_path / FILE, network, CARD)
    rewritten(tmp_path / FILE, projected_from=None)
    assert load_student(tmp_path).card.projected_from == 0


@pytest.mark.parametrize("said", ["arcface112", "dlib150"])
def test_a_checkpoint_from_before_there_were_aligners(tmp_path: Path, said: str) -> None:
    """Its student sees the crop of an old store that it was trained on, to the bit."""
    old, stored = Frame("arcface112", 112, 0.0, 0.0, 112.0), WIDE.at(96)
    save_student(tmp_path / FILE, build("small-resnet", width=0.25, outputs=48), CARD)
    rewritten(tmp_path / FILE, frame=said, aligner=None, projected_from=None)
    card = load_student(tmp_path).card
    assert card.aligner == "dlib"
    assert card.frame == {"arcface112": "dlib112"}.get(said, said)
    seen = {"arcface112": old, "dlib150": DLIB150}[said].at(64)
    np.testing.assert_array_equal(between(stored, card.input_frame), between(stored, seen))
    faces = torch.rand(2, 3, 96, 96)
    assert torch.equal(to_frame(faces, stored, card.input_frame), to_frame(faces, stored, seen))


def test_a_checkpoint_of_today_is_of_the_fields_crop(tmp_path: Path) -> None:
    save_student(tmp_path / FILE, projected(), replace(CARD, aligner="yunet-onet"))
    card = load_student(tmp_path).card
    assert (card.input_frame, card.aligner) == (ARCFACE112.at(64), "yunet-onet")


@pytest.mark.parametrize(
    "changes",
    [{"width": "1e6"}, {"embedding_width": "999999999"}, {"projected_from": "0"},
     {"name": "iresnet-100", "width": "40"}, {"input_size": "9999999"}],
)  # fmt: skip
def test_a_card_that_its_weights_belie_takes_no_memory(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    save_student(tmp_path / FILE, projected(), CARD)
    rewritten(tmp_path / FILE, **changes)
    with pytest.raises(InputError, match=r"student.safetensors: not a student checkpoint"):
        load_student(tmp_path)


def test_a_checkpoint_of_an_unknown_student_names_its_file(tmp_path: Path) -> None:
    save_student(tmp_path / FILE, projected(), CARD)
    rewritten(tmp_path / FILE, name="huge-resnet")
    with pytest.raises(InputError, match=r"student.safetensors: unknown student 'huge-resnet'"):
        load_student(tmp_path)


def test_scaled_channels_are_multiples_of_a_step() -> None:
    assert [scaled(64, w) for w in (0.01, 0.5, 0.75, 1.0)] == [8, 32, 48, 64]
    assert [scaled(100, w, 4) for w in (0.01, 0.5, 0.75, 1.0)] == [8, 52, 76, 100]


def test_sides_are_rounded_up_at_every_halving() -> None:
    for size in range(1, 130):
        side = size
        for _ in range(4):
            side = -(-side // 2)
        assert side_after(4, size) == side
