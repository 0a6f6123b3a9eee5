"""Attribute heads: the network neuron by neuron, masks, people held out, and the file."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from eval.attributes.head_files import KEY, KIND, HeadsPassport, load_heads, save_heads
from eval.attributes.head_networks import SHARED, Heads, fit_heads, masked_loss, probabilities
from eval.attributes.held_out import LEAST, hold_out, judge
from manifests.core.errors import InputError
from manifests.settings.heads import HeadSettings
from tests import references

WIDTH = 6
QUICK = HeadSettings("linear", 30, 32, 0.05, 0.0, 0.3, 0.75, 5)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def embedded(count: int, seed: int = 0) -> np.ndarray:
    return rng(seed).normal(3.0, 2.0, (count, WIDTH)).astype(np.float32)


def answers(rows: np.ndarray) -> np.ndarray:
    """Two attributes that an embedding tells, and one that nothing tells."""
    told = np.stack([rows[:, 0] > 3, rows[:, 1] + rows[:, 2] > 6, rng(9).random(len(rows)) > 0.5])
    return np.where(told.T, 1, -1).astype(np.int8)


@pytest.mark.parametrize("architecture", SHARED)
def test_the_network_is_the_published_one(architecture: str) -> None:
    torch.manual_seed(0)
    heads = Heads(architecture, WIDTH, 3)
    with torch.no_grad():  # as if trained: no tensor is what it starts from
        for tensor in heads.state_dict().values():
            if tensor.is_floating_point() and tensor.dim() < 2:
                tensor.copy_(0.5 + torch.rand_like(tensor))
    rows = embedded(3)
    tensors = {name: tensor.numpy() for name, tensor in heads.state_dict().items()}
    places = [4 * at for at in range(len(SHARED[architecture]))]
    expected = [references.mac(row, tensors, places) for row in rows]
    np.testing.assert_allclose(probabilities(heads.eval(), rows), expected, atol=2e-4)


@pytest.mark.parametrize(("architecture", "count"), [("mac", 47), ("mac-256", 47), ("linear", 47)])
def test_the_number_of_weights_is_that_of_the_layers(architecture: str, count: int) -> None:
    width, expected = 128, 0
    for outputs in SHARED[architecture]:
        expected += (width + 1) * outputs + 2 * outputs  # and BatchNorm
        width = outputs
    branch = (width + 1) * 128 + 2 * 128 if SHARED[architecture] else 0
    last = ((128 if branch else width) + 1) * 2
    found = sum(own.numel() for own in Heads(architecture, 128, count).parameters())
    assert found == expected + count * (branch + last)


@given(st.integers(0, 10_000))
def test_the_loss_is_that_of_the_loops_and_masks_what_is_undefined(seed: int) -> None:
    logits = rng(seed).normal(0, 3, (7, 4, 2)).astype(np.float32)
    labels = rng(seed).choice([-1, 0, 1], (7, 4)).astype(np.int8)
    found = float(masked_loss(torch.from_numpy(logits), torch.from_numpy(labels)))
    assert found == pytest.approx(references.masked_cross_entropy(logits, labels), abs=1e-5)
    changed = np.where((labels == 0)[..., None], 7.0, logits).astype(np.float32)
    assert found == pytest.approx(
        float(masked_loss(torch.from_numpy(changed), torch.from_numpy(labels))), abs=1e-6
    )


def test_nothing_defined_is_no_loss() -> None:
    assert float(masked_loss(torch.ones(3, 2, 2), torch.zeros(3, 2, dtype=torch.int8))) == 0.0


@pytest.mark.parametrize("architecture", SHARED)
def test_heads_learn_what_embeddings_tell(architecture: str) -> None:
    rows, others = embedded(600), embedded(200, seed=1)
    settings = replace(QUICK, architecture=architecture, learning_rate=0.01, epochs=12)
    found = probabilities(fit_heads(rows, answers(rows), settings), others)
    right = (found >= 0.5) == (answers(others) > 0)
    assert (right[:, :2].mean(axis=0) > 0.9).all()
    assert 0.35 < right[:, 2].mean() < 0.65


def test_the_same_seed_gives_the_same_heads_and_leaves_the_generator_alone() -> None:
    rows = embedded(100)
    settings = replace(QUICK, architecture="mac", epochs=2)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, second = (fit_heads(rows, answers(rows), settings).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), before)
    other = fit_heads(rows, answers(rows), replace(settings, seed=6)).state_dict()
    assert not torch.equal(first["last"], other["last"])


def test_undefined_labels_teach_nothing() -> None:
    """Labels of which only the defined half is right: the other half is never looked at."""
    rows = embedded(400)
    labels = answers(rows)
    labels[200:, 0] = 0
    turned = labels.copy()
    heads = fit_heads(rows, labels, QUICK)
    assert torch.equal(heads.last, fit_heads(rows, turned, QUICK).last)
    found = probabilities(heads, embedded(200, seed=2))[:, 0] >= 0.5
    assert (found == (answers(embedded(200, seed=2))[:, 0] > 0)).mean() > 0.9


def test_a_face_without_an_embedding_has_no_answer() -> None:
    rows = embedded(70)
    heads = fit_heads(rows, answers(rows), QUICK)
    whole = probabilities(heads, rows)
    rows[3] = np.nan
    found = probabilities(heads, rows)
    assert np.isnan(found[3]).all()
    np.testing.assert_array_equal(np.delete(found, 3, axis=0), np.delete(whole, 3, axis=0))
    np.testing.assert_array_equal(probabilities(heads, rows[[9, 5]]), whole[[9, 5]])
    assert probabilities(heads, rows[:0]).shape == (0, 3)


@given(st.lists(st.integers(0, 12), min_size=2, max_size=60), st.floats(0.05, 0.9))
def test_people_are_held_out_whole(owner: list[int], share: float) -> None:
    person = np.array(owner)
    held = hold_out(person, share, 3)
    np.testing.assert_array_equal(held, hold_out(person, share, 3))
    assert not set(person[held]) & set(person[~held])
    if len(set(owner)) > 1:
        assert 0 < held.sum() < len(held)
        others = len(set(owner)) - len(set(person[held]))
        assert held.mean() >= share or others == 1


def test_accuracies_are_those_of_counting() -> None:
    found, labels = rng(1).random((60, 3)), rng(2).choice([-1, 0, 1], (60, 3)).astype(np.int8)
    results = judge(found, labels, np.arange(60) // 2, floor=0.5, seed=1)
    for at, result in enumerate(results):
        told, truth = (found[:, at] >= 0.5).tolist(), labels[:, at].tolist()
        expected = references.balanced_accuracy(told, truth)
        assert result.balanced_accuracy == pytest.approx(expected)
        defined = labels[:, at] != 0
        right = (found[defined, at] >= 0.5) == (labels[defined, at] > 0)
        assert result.accuracy == pytest.approx(right.mean())
        assert (result.num_yes, result.num_no) == (truth.count(1), truth.count(-1))
        assert result.ci95 and result.ci95[0] <= expected <= result.ci95[1]


def test_by_hand() -> None:
    """8 of 10 who have it are said to, 27 of 30 others not: (0.8 + 0.9) / 2."""
    labels = np.repeat(np.array([[1], [-1]], np.int8), [10, 30], axis=0)
    found = np.concatenate([np.full(8, 0.9), np.full(2, 0.1), np.full(27, 0.2), np.full(3, 0.5)])
    (result,) = judge(found[:, None], labels, np.arange(40), floor=0.75, seed=1)
    assert result.balanced_accuracy == pytest.approx(0.85)
    assert (result.sensitivity, result.specificity) == (0.8, 0.9)
    assert (result.accuracy, result.majority) == (35 / 40, 0.75)
    assert result.used


def test_a_head_that_always_says_no_is_not_used_however_accurate() -> None:
    labels = np.repeat(np.array([[1], [-1]], np.int8), [20, 980], axis=0)
    (result,) = judge(np.zeros((1000, 1)), labels, np.arange(1000), floor=0.6, seed=1)
    assert result.accuracy == 0.98
    assert result.why_not == "balanced accuracy 0.500, below the floor of 0.6"


def test_too_few_of_a_kind_are_no_accuracy() -> None:
    labels = np.repeat(np.array([[1], [-1]], np.int8), [LEAST - 1, 50], axis=0)
    (result,) = judge((labels > 0) * 1.0, labels, np.arange(len(labels)), floor=0.5, seed=1)
    assert result.why_not == "9 held-out faces have it and 50 do not, 10 of either are needed"
    (nobody,) = judge(labels * 0.0, labels * 0, np.arange(len(labels)), floor=0.5, seed=1)
    assert nobody.balanced_accuracy is None and not nobody.used


def test_ten_faces_of_a_person_are_not_ten_people() -> None:
    """What holds for four people, ten faces each, may be luck."""
    labels = np.repeat(np.array([[1], [-1]], np.int8), 20, axis=0)
    found = np.repeat([0.9, 0.3, 0.1, 0.1], 10)[:, None]
    by_face, by_person = (
        judge(found, labels, person, floor=0.5, seed=1)[0]
        for person in (np.arange(40), np.arange(40) // 10)
    )
    assert by_face.balanced_accuracy == by_person.balanced_accuracy == 0.75
    assert by_face.used
    assert by_person.why_not == "balanced accuracy 0.750 is no better than chance (from 0.500)"


def passport(**changes: Any) -> HeadsPassport:
    made = HeadsPassport(
        "linear", WIDTH, ("Male", "Bald"), ("Male",), {"name": "toy"}, "toy", {"name": "l.csv"},
        {"kind": "faces", "name": "pool", "digest": "0" * 64}, {"seed": 1}, {}, {"torch": "2"},
    )  # fmt: skip
    return replace(made, **changes)


def test_heads_come_back_as_they_were(tmp_path: Path) -> None:
    heads = fit_heads(embedded(80), answers(embedded(80))[:, :2], QUICK)
    save_heads(tmp_path / "h.safetensors", heads, passport())
    found, card, sha256 = load_heads(tmp_path / "h.safetensors")
    assert card == passport()
    assert re.fullmatch("[0-9a-f]{64}", sha256)
    rows = embedded(9, seed=3)
    np.testing.assert_array_equal(probabilities(found, rows), probabilities(heads, rows))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 1 << 40}, "embeddings of width"),
        ({"width": WIDTH + 1}, "no attribute heads"),
        ({"attributes": ["Male"] * 2}, "there twice, or others are used"),
        ({"used": ["Young"]}, "there twice, or others are used"),
        ({"attributes": ["Male", "Ba\nld"]}, "has no proper name"),
        ({"attributes": "Male"}, "attributes are no list"),
        ({"attributes": [f"a{n}" for n in range(300)]}, "attributes are no list"),
        ({"architecture": "vit"}, "unknown architecture of heads 'vit'; valid names: linear, mac"),
        ({"teacher": "dlib"}, "does not say whose embeddings"),
        ({"more": 1}, "no attribute heads"),
    ],
)
def test_a_strangers_file_is_read_with_care(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "h.safetensors"
    heads = Heads("linear", WIDTH, 2)
    save_heads(path, heads, passport())
    card = {name: value for name, value in vars(passport()).items()} | changes
    tensors = {name: tensor.contiguous() for name, tensor in heads.state_dict().items()}
    save_file(tensors, path, {KEY: json.dumps({"kind": KIND, **card})})
    with pytest.raises(InputError, match=message):
        load_heads(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file; train heads with `facestill heads`"):
        load_heads(tmp_path / "nowhere.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(InputError, match="no attribute heads"):
        load_heads(tmp_path / "a.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="kind 'not stated', expected 'attribute-heads-1'"):
        load_heads(tmp_path / "b.safetensors")
