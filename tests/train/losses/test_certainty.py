"""Certainty ratios: their slow twins, their bounds, cases by hand, and where gradients go."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from manifests.settings.objectives import CertaintyRatio, Margin, Ratio
from tests.references import certainty as slow
from train.losses.certainty import QualityRegression, certainty_ratio, nearest_other, own_cosine
from train.losses.margin_heads import MarginHead

WIDTH, IDENTITIES, FACES = 6, 5, 7
LABELS = torch.tensor([0, 1, -1, 4, 4, -1, 2])
KNOWN = LABELS >= 0

cosines = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(2, 6)),
    elements=st.floats(-1, 1, width=32),
)


def ratios(rows: np.ndarray, ratio: str, own: int = 0) -> Tensor:
    return certainty_ratio(torch.from_numpy(rows), torch.full((len(rows),), own), ratio)


@given(cosines, st.sampled_from(get_args(Ratio)), st.integers(0, 1))
def test_they_are_their_slow_twins(rows: np.ndarray, ratio: str, own: int) -> None:
    if ratio == "released" and not np.delete(rows, own, axis=1).max(axis=1).all():
        return  # it divides by the nearest other cosine as it is
    wanted = [slow.certainty_ratio(row.tolist(), own, ratio) for row in rows]
    np.testing.assert_allclose(ratios(rows, ratio, own), wanted, rtol=1e-6)


@given(cosines)
def test_the_papers_ratio_lies_within_its_bounds(rows: np.ndarray) -> None:
    found, own = ratios(rows, "paper").numpy(), rows[:, 0]
    size = np.abs(found)
    assert np.isfinite(found).all() and (np.sign(found) == np.sign(own)).all()
    assert (size >= np.abs(own) / (2 + 1e-6)).all()
    assert (size <= np.abs(own) * 1.000001e9).all()
    right_angle = rows[:, 1:].max(axis=1) >= 0
    assert (size[right_angle] <= np.abs(own[right_angle]) + 1e-6).all()


@given(cosines, st.floats(0.01, 0.5))
def test_it_rises_with_the_own_cosine_and_falls_with_the_nearest_other(
    rows: np.ndarray, step: float
) -> None:
    rows = rows * 0.4 + 0.1  # of -0.3 to 0.5: no cosine leaves -1..1
    nearer, crowded = rows.copy(), rows.copy()
    nearer[:, 0] += step
    crowded[:, 1:] += step
    before = ratios(rows, "paper").numpy()
    assert (ratios(nearer, "paper").numpy() > before).all()
    positive = rows[:, 0] > 0
    assert (ratios(crowded, "paper").numpy()[positive] < before[positive]).all()


def test_by_hand() -> None:
    rows = torch.tensor([[0.8, 0.25, -0.5], [0.25, 0.8, -0.5], [-0.6, -0.2, -0.4]])
    labels = torch.tensor([0, 0, 0])
    assert own_cosine(rows, labels).tolist() == pytest.approx([0.8, 0.25, -0.6])
    assert nearest_other(rows, labels, -1.0).tolist() == pytest.approx([0.25, 0.8, -0.2])
    paper = certainty_ratio(rows, labels, "paper").tolist()
    assert paper == pytest.approx([0.8 / 1.25, 0.25 / 1.8, -0.6 / 0.8])
    released = certainty_ratio(rows, labels, "released").tolist()
    assert released[:2] == pytest.approx([3.2, 0.3125])
    assert released[2] == pytest.approx(6e11)  # nobody's cosine is positive but the overwritten 0
    assert certainty_ratio(rows, labels, "ccs").tolist() == pytest.approx([0.8, 0.25, -0.6])


def test_the_ends_of_the_scale() -> None:
    """The best face lies on its own prototype and opposite all others."""
    best, worst = ratios(np.array([[1.0, -1.0], [-1.0, 1.0]]), "paper").tolist()
    assert best == pytest.approx(1e9, rel=1e-6) and worst == pytest.approx(-0.5)


class TestRegression:
    @pytest.fixture
    def head(self) -> MarginHead:
        torch.manual_seed(1)
        return MarginHead(Margin("arcface"), IDENTITIES, WIDTH)

    @pytest.fixture
    def outputs(self) -> Tensor:
        torch.manual_seed(2)
        return torch.randn(FACES, WIDTH).requires_grad_(True)

    def regression(self, below: MarginHead | None = None, **term: object) -> QualityRegression:
        torch.manual_seed(3)
        return QualityRegression(CertaintyRatio("cr-fiqa", **term), WIDTH, below)  # type: ignore[arg-type]

    @pytest.mark.parametrize("ratio", get_args(Ratio))
    @pytest.mark.parametrize("beta", [0.1, 0.5])
    def test_it_is_its_slow_twin(
        self, head: MarginHead, outputs: Tensor, ratio: str, beta: float
    ) -> None:
        made = self.regression(ratio=ratio, beta=beta)
        rows, prototypes = (t.detach().double().numpy() for t in (outputs, head.prototypes))
        targets = [
            slow.certainty_ratio(
                [slow.cosine_to(row, prototype) for prototype in prototypes], int(label), ratio
            )
            for row, label in zip(rows, LABELS, strict=True) if label >= 0
        ]  # fmt: skip
        weight, bias = (p.detach().double().numpy() for p in made.layer.parameters())
        predicted = (rows[KNOWN.numpy()] @ weight[0] + bias[0]).tolist()
        wanted = slow.smooth_l1(predicted, targets, beta)
        assert float(made(outputs, LABELS, head).detach()) == pytest.approx(wanted, rel=1e-4)

    def test_gradient_goes_through_the_prediction_alone(
        self, head: MarginHead, outputs: Tensor
    ) -> None:
        """That of the outputs is what it would be if the ratios were constants."""
        made = self.regression()
        made(outputs, LABELS, head).backward()
        assert outputs.grad is not None and head.prototypes.grad is None
        found, constants = outputs.grad.clone(), made.ratios(outputs, LABELS.clamp(min=0), head)
        assert not constants.requires_grad
        outputs.grad = None
        rows = outputs[KNOWN]
        predicted = made.layer(rows)[:, 0]
        torch.nn.functional.smooth_l1_loss(predicted, constants[KNOWN], beta=0.5).backward()
        torch.testing.assert_close(found, outputs.grad)
        assert found[KNOWN].abs().sum() > 0 and not found[~KNOWN].any()

    def test_no_margin_is_in_the_ratio(self, outputs: Tensor) -> None:
        found = []
        for margin in (0.0, 0.5):
            torch.manual_seed(1)
            head = MarginHead(Margin("arcface", margin=margin), IDENTITIES, WIDTH)
            found.append(self.regression().ratios(outputs[KNOWN], LABELS[KNOWN], head))
        torch.testing.assert_close(*found)

    def test_on_top_the_other_runs_prototypes_count_and_stay(
        self, head: MarginHead, outputs: Tensor
    ) -> None:
        torch.manual_seed(9)
        other = MarginHead(Margin("arcface"), IDENTITIES, WIDTH)
        made = self.regression(other)
        rows, labels = outputs[KNOWN], LABELS[KNOWN]
        wanted = self.regression().ratios(rows, labels, other)
        torch.testing.assert_close(made.ratios(rows, labels, head), wanted)
        trained = [name for name, p in made.named_parameters() if p.requires_grad]
        assert trained == ["layer.weight", "layer.bias"]

    def test_nobody_known_is_no_loss(self, head: MarginHead, outputs: Tensor) -> None:
        loss = self.regression()(outputs, torch.full((FACES,), -1), head)
        loss.backward()
        assert float(loss.detach()) == 0.0
