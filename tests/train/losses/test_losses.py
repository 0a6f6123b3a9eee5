"""Losses against their slow twins in NumPy, and what must hold of each."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from manifests.settings.objectives import Grouped
from tests.references import losses as slow
from train.losses import grouped as groups
from train.losses.regression import (
    CONVENTIONS,
    cosine,
    mse,
    unit_squared_distance,
    weight_per_squared_distance,
)
from train.losses.relations import (
    fpr_thresholds,
    pair_kinds,
    pair_similarities,
    relational,
    soft_counts,
    threshold_ranks,
)

SEEDS = st.integers(0, 2**32 - 1)
PULLING = {"mse": mse, "cosine": cosine, "unit_squared_distance": unit_squared_distance}


def pair(seed: int, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((7, width)), rng.standard_normal((7, 5))


def tensors(*arrays: np.ndarray) -> list[Tensor]:
    return [torch.from_numpy(array).float() for array in arrays]


@given(SEEDS, st.sampled_from(sorted(PULLING)))
def test_pulling_losses_are_their_twins(seed: int, name: str) -> None:
    arrays = pair(seed)
    expected = getattr(slow, name)(*arrays)
    assert float(PULLING[name](*tensors(*arrays))) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", PULLING)
def test_pulling_losses_are_zero_at_the_target_and_positive_elsewhere(name: str) -> None:
    (targets,) = tensors(pair(1)[1])
    assert float(PULLING[name](targets, targets)) == pytest.approx(0.0, abs=1e-5)
    assert float(PULLING[name](targets.roll(1, 0), targets)) > 0.1


@pytest.mark.parametrize("loss", [cosine, unit_squared_distance, relational])
def test_losses_on_angles_do_not_see_the_length_of_an_output(loss) -> None:
    outputs, targets = tensors(*pair(2))
    assert float(loss(outputs * 9, targets)) == pytest.approx(float(loss(outputs, targets)))


@given(SEEDS)
def test_a_squared_distance_of_unit_vectors_is_twice_one_minus_their_cosine(seed: int) -> None:
    outputs, targets = tensors(*pair(seed))
    found = float(unit_squared_distance(outputs, targets))
    assert found == pytest.approx(2 * float(cosine(outputs, targets)), abs=1e-5)


@pytest.mark.parametrize(
    ("convention", "width", "weight"),
    [
        ("squared-distance", 128, 1.0),
        ("pocketnet", 128, 0.78125),
        ("pocketnet", 256, 0.390625),
        ("kd-fairness", 512, 19.53125),
    ],
)
def test_published_weights_per_squared_distance(convention: str, width: int, weight: float) -> None:
    assert weight_per_squared_distance(convention, width) == weight


@pytest.mark.parametrize("convention", CONVENTIONS[1:])
def test_a_published_weight_stands_before_a_mean_over_unit_coordinates(convention: str) -> None:
    outputs, targets = pair(3)
    published = {"pocketnet": 100, "kd-fairness": 10_000}[convention]
    units = [np.stack([slow.unit(row) for row in rows]) for rows in (outputs, targets)]
    found = weight_per_squared_distance(convention, 5) * slow.unit_squared_distance(
        outputs, targets
    )
    assert found == pytest.approx(published * slow.mse(*units))


def test_pocketnets_term_at_a_random_start_is_what_its_log_shows() -> None:
    outputs, targets = (torch.randn(500, 128, generator=torch.Generator()) for _ in range(2))
    targets = targets.roll(1, 0)
    found = weight_per_squared_distance("pocketnet", 128) * unit_squared_distance(outputs, targets)
    assert float(found) == pytest.approx(1.56, abs=0.02)


class TestRelations:
    @given(SEEDS)
    def test_relational_is_its_twin_for_any_two_widths(self, seed: int) -> None:
        outputs, targets = pair(seed, width=9)
        expected = slow.relational(outputs, targets)
        assert float(relational(*tensors(outputs, targets))) == pytest.approx(expected, rel=1e-4)

    def test_relational_does_not_see_a_rotation(self) -> None:
        outputs, targets = pair(4)
        rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
        turned = float(relational(*tensors(outputs @ rotation, targets)))
        assert turned == pytest.approx(float(relational(*tensors(outputs, targets))), rel=1e-4)
        assert float(relational(*tensors(outputs @ rotation, outputs))) < 1e-10

    @given(SEEDS)
    def test_earlier_faces_make_more_pairs(self, seed: int) -> None:
        outputs, targets = pair(seed, width=9)
        ours, theirs = tensors(outputs, targets)
        found = relational(ours[:4], theirs[:4], ours[4:], theirs[4:])
        assert float(found) == pytest.approx(slow.relational(outputs, targets, now=4), rel=1e-4)

    def test_earlier_faces_are_somebody_too(self) -> None:
        same, different = pair_kinds(torch.tensor([4, -1]), torch.tensor([4, 7, -1]))
        #                        0-1    0-4    0-7   0-none -: with nobody's face
        assert same.tolist() == [False, True, False, False, False, False, False]
        assert different.tolist() == [False, False, True, False, False, False, False]

    def test_pairs_are_of_one_person_of_two_or_of_nobody_known(self) -> None:
        same, different = pair_kinds(torch.tensor([4, -1, 4, 7]))
        #                  0-1    0-2   0-3    1-2    1-3    2-3
        assert same.tolist() == [False, True, False, False, False, False]
        assert different.tolist() == [False, False, True, False, False, True]

    @given(SEEDS, st.integers(1, 400), st.integers(1, 4))
    def test_thresholds_are_reached_by_one_negative_in_ten_a_hundred(
        self, seed: int, count: int, num_thresholds: int
    ) -> None:
        negatives = np.random.default_rng(seed).uniform(-1, 1, count).astype(np.float32)
        found = fpr_thresholds(torch.from_numpy(negatives), num_thresholds)
        powers = range(1, num_thresholds + 1)
        assert found.tolist() == [slow.fpr_threshold(negatives.tolist(), p) for p in powers]

    @given(SEEDS)
    def test_soft_counts_are_their_twin(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        similarities, thresholds = rng.uniform(-1, 1, 9), rng.uniform(-1, 1, 6)
        found = soft_counts(*tensors(similarities, thresholds), 0.01)
        expected = [slow.soft_count(s, thresholds.tolist(), 0.01) for s in similarities]
        assert found.tolist() == pytest.approx(expected, abs=1e-3)

    def test_only_the_side_of_a_threshold_matters(self) -> None:
        ours, theirs = torch.tensor([0.9, 0.1]), torch.tensor([0.6, 0.4])
        thresholds = torch.tensor([0.5])
        assert float(threshold_ranks(ours, theirs, thresholds, thresholds, 0.001)) < 1e-6
        swapped = threshold_ranks(ours.flip(0), theirs, thresholds, thresholds, 0.001)
        assert float(swapped) == pytest.approx(1.0)

    def test_no_pair_is_no_loss_and_has_a_gradient(self) -> None:
        outputs = torch.randn(1, 4, requires_grad=True)
        none = pair_similarities(outputs)
        loss = threshold_ranks(none, none, torch.zeros(2), torch.zeros(2), 0.01)
        loss.backward()
        assert float(loss.detach()) == 0.0 and outputs.grad is not None


def term(**options: Any) -> Grouped:
    return Grouped("gkd", "runs/tutor", **options)


RULES = {"batch": slow.released_group_size, "row": slow.group_size_by_row}
PEAKS = st.sampled_from([1.0, 9.0, 40.0])  # spread of logits: all alike likely, or one certain


class TestGroups:
    @given(SEEDS, st.sampled_from([1, 3, 12, 40]))
    def test_grouped_is_its_twin(self, seed: int, size: int) -> None:
        rng = np.random.default_rng(seed)
        student, teacher = rng.normal(0, 9, (5, 12)), rng.normal(0, 9, (5, 12))
        labels = rng.integers(-1, 12, 5)
        found = groups.grouped(
            *tensors(student, teacher), torch.from_numpy(labels), term(group_size=size)
        )
        expected = slow.grouped(student, teacher, labels.tolist(), 4.0, 4.0, min(size, 12))
        assert float(found) == pytest.approx(expected, rel=1e-3, abs=1e-4)

    @given(SEEDS, st.sampled_from([0.05, 0.5, 0.93, 0.999]), st.sampled_from([1, 3, 10]), PEAKS,
           st.sampled_from(sorted(RULES)))  # fmt: skip
    def test_a_size_is_its_twin_s(
        self, seed: int, mass: float, step: int, peak: float, grouping: Literal["batch", "row"]
    ) -> None:
        student = np.random.default_rng(seed).normal(0, peak, (6, 40))
        options = {"mass": mass, "group_step": step, "group_temperature": 2.0}
        found = groups.group_size(torch.from_numpy(student), term(grouping=grouping, **options))
        assert found == RULES[grouping](student, mass, step, 2.0)

    @pytest.mark.parametrize("alignment", [0.0, 0.3, 0.5, 0.6, 0.7, 0.9])
    def test_the_default_size_is_the_released_one_at_any_alignment(self, alignment: float) -> None:
        logits = slow.aligned_logits(alignment, num_identities=4000, batch=32, width=512, seed=5)
        found = groups.group_size(torch.from_numpy(logits), term())
        assert found == slow.released_group_size(logits, 0.93, 100, 1.0)
        assert (found <= 101) == (alignment >= 0.7) and (found > 2000) == (alignment <= 0.5)

    def test_like_logits_lose_nothing(self) -> None:
        logits = torch.randn(4, 9)
        found = groups.grouped(logits, logits, torch.arange(4), term())
        assert float(found) == pytest.approx(0.0, abs=1e-5)

    def test_the_tail_is_not_taught(self) -> None:
        """Two identities outside of the group swap their logits: their sum is the same."""
        teacher = torch.tensor([[9.0, 8.0, -3.0, -1.0]])
        student = torch.tensor([[9.0, 8.0, -1.0, -3.0]])
        found = groups.grouped(student, teacher, torch.tensor([0]), term(group_size=2))
        assert float(found) == pytest.approx(0.0, abs=1e-5)

    def test_the_own_identity_is_one_of_the_group(self) -> None:
        logits = torch.tensor([[3.0, 2.0, 1.0]])
        for count, expected in ((1, [False, False, True]), (2, [True, False, True])):
            group = groups.primary_group(logits, torch.tensor([2]), count)
            assert group.tolist() == [expected]

    def test_without_a_label_there_is_no_loss(self) -> None:
        logits = torch.randn(2, 3, requires_grad=True)
        loss = groups.grouped(logits, logits * 2, torch.tensor([-1, -1]), term())
        assert float(loss.detach()) == 0.0
