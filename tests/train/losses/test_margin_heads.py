"""Margin heads: sampled identities, centres that follow a teacher, and AdaFace's first figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from manifests.settings.objectives import Margin
from tests.references import losses as slow
from train.losses.centres import last_of_each, sample_identities, taught_centres
from train.losses.margin_heads import MarginHead
from train.losses.margins import labelled_cross_entropy

WIDTH, IDENTITIES = 6, 40
LABELS = torch.tensor([3, 17, 3, -1, 39, 0])
SEEDS = st.integers(0, 2**32 - 1)


def head_of(margin: Margin, identities: int = IDENTITIES) -> MarginHead:
    torch.manual_seed(2)
    return MarginHead(margin, identities, WIDTH)


def drawn(seed: int, rows: int = len(LABELS)) -> Tensor:
    return torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(seed))


class TestSampling:
    @given(SEEDS, st.floats(0.001, 1.0), st.integers(1, 60))
    def test_the_batch_s_identities_are_in_and_as_many_others_as_make_the_share(
        self, seed: int, rate: float, count: int
    ) -> None:
        labels = torch.from_numpy(np.random.default_rng(seed).integers(-1, count, 12))
        rows = sample_identities(labels, count, rate, torch.Generator().manual_seed(seed))
        own = set(labels[labels >= 0].tolist())
        assert own <= set(rows.tolist())
        assert len(rows) == max(int(rate * count), len(own), 1)
        assert (rows.diff() > 0).all() and 0 <= rows[0] <= rows[-1] < count

    def test_all_others_are_drawn_alike(self) -> None:
        generator, times = torch.Generator().manual_seed(0), torch.zeros(20)
        for _ in range(2000):
            times[sample_identities(torch.tensor([4]), 20, 0.25, generator)] += 1
        assert times[4] == 2000
        others = torch.cat([times[:4], times[5:]])  # 4 of 19: binomial, 421 +- 18 each
        assert (others - 2000 * 4 / 19).abs().max() < 5 * 18.2

    @pytest.mark.parametrize("name", ["arcface", "cosface", "adaface", "elastic-cosface"])
    def test_a_loss_is_that_of_a_head_of_the_sampled_identities(self, name: str) -> None:
        margin = Margin(name, margin_spread=0.1 * name.startswith("elastic"), sample_rate=0.3)
        head, outputs = head_of(margin), drawn(1)
        loss, logits = head(outputs, LABELS)
        assert head.sampled is not None and logits.shape == (len(LABELS), 12)
        small = head_of(Margin(name, margin_spread=margin.margin_spread), len(head.sampled))
        small.load_state_dict(
            head.state_dict()
            | {"prototypes": head.prototypes[head.sampled], "batches": head.batches - 1}
        )
        small.norms.fill_(float("nan"))
        places = [head.sampled.tolist().index(label) if label >= 0 else -1 for label in LABELS]
        expected, theirs = small(outputs, torch.tensor(places))
        torch.testing.assert_close(logits, theirs)
        torch.testing.assert_close(loss, expected)

    def test_all_identities_or_none_left_out_are_the_full_softmax_to_the_bit(self) -> None:
        everybody = torch.arange(IDENTITIES)
        outputs = drawn(1, IDENTITIES)
        losses, gradients = [], []
        for rate in (1.0, 0.5):  # the batch shows all: none is left out
            head, rows = head_of(Margin("arcface", sample_rate=rate)), outputs.clone()
            loss, logits = head(rows.requires_grad_(True), everybody)
            loss.backward()
            assert logits.shape == (IDENTITIES, IDENTITIES)
            assert head.prototypes.grad is not None
            losses.append(loss)
            gradients.append([rows.grad, head.prototypes.grad.to_dense()])
        assert torch.equal(*losses)
        assert all(torch.equal(*both) for both in zip(*gradients, strict=True))

    def test_only_a_gradient_of_the_sampled_rows_is_made(self) -> None:
        head = head_of(Margin("cosface", sample_rate=0.3))
        head(drawn(1), LABELS)[0].backward()
        gradient = head.prototypes.grad
        assert gradient is not None and gradient.is_sparse
        assert torch.equal(gradient.coalesce().indices()[0], head.sampled)

    def test_a_sample_differs_by_batch_and_comes_back_with_the_state(self) -> None:
        head = head_of(Margin("cosface", sample_rate=0.3))
        head(drawn(1), LABELS)
        first, state = head.sampled, {k: v.clone() for k, v in head.state_dict().items()}
        second = head(drawn(2), LABELS)[1]
        other = head_of(Margin("cosface", sample_rate=0.3))
        other.load_state_dict(state)
        assert torch.equal(other(drawn(2), LABELS)[1], second)
        assert first is not None and not torch.equal(first, other.sampled)

    def test_who_is_measured_is_held_against_all(self) -> None:
        head = head_of(Margin("cosface", sample_rate=0.3)).eval()
        loss, logits = head(drawn(1), LABELS)
        assert logits.shape == (len(LABELS), IDENTITIES) and head.sampled is None
        torch.testing.assert_close(loss, labelled_cross_entropy(logits, LABELS))


class TestCentres:
    @given(SEEDS, st.booleans())
    def test_a_centre_moves_as_its_twin(self, seed: int, weighted: bool) -> None:
        centres, outputs, taught = np.random.default_rng(seed).standard_normal((3, 5, WIDTH))
        tensors = map(torch.from_numpy, (centres, outputs, taught))
        found = taught_centres(*tensors, weighted=weighted)
        for row, own in enumerate(found.numpy()):
            rows = centres[row], outputs[row], taught[row]
            np.testing.assert_allclose(own, slow.taught_centre(*rows, weighted=weighted))

    def test_the_last_face_of_an_identity_counts(self) -> None:
        assert sorted(last_of_each(LABELS).tolist()) == [1, 2, 4, 5]
        assert not len(last_of_each(torch.tensor([-1, -1])))

    @pytest.mark.parametrize("rate", [1.0, 0.3])
    @pytest.mark.parametrize("centres", ["adadistill", "adadistill-unweighted"])
    def test_centres_follow_the_teacher_and_no_gradient(self, centres, rate: float) -> None:
        head = head_of(Margin("arcface", centres=centres, sample_rate=rate))
        outputs, taught = drawn(1), drawn(2)
        before = head.prototypes.detach().clone()
        rows = outputs.clone().requires_grad_(True)
        loss, _ = head(rows, LABELS, taught)
        loss.backward()
        assert rows.grad is not None and head.prototypes.grad is None
        for row, label in ((2, 3), (1, 17), (4, 39), (5, 0)):
            expected = slow.taught_centre(
                before[label].numpy(), outputs[row].numpy(), taught[row].numpy(),
                weighted=centres == "adadistill",
            )  # fmt: skip
            np.testing.assert_allclose(head.prototypes[label], expected, rtol=1e-4, atol=1e-6)
        still = torch.ones(IDENTITIES, dtype=torch.bool)
        still[LABELS[LABELS >= 0]] = False
        assert torch.equal(head.prototypes[still], before[still])

    def test_a_student_that_follows_leaves_the_centre_in_peace(self) -> None:
        centre, taught = drawn(3, 1), drawn(4, 1)
        moved = taught_centres(centre, taught, taught, weighted=False)
        torch.testing.assert_close(moved, centre)
        moved = taught_centres(centre, -taught, taught, weighted=False)
        torch.testing.assert_close(moved, torch.nn.functional.normalize(taught), atol=1e-5, rtol=0)


class TestFirstNorms:
    def test_adaface_begins_as_released(self) -> None:
        head, outputs = head_of(Margin("adaface", first_norms="released")), drawn(1)
        head(outputs, LABELS)
        norms = outputs.norm(dim=1).numpy().astype(float)
        expected = [0.99 * 20 + 0.01 * norms.mean(), 0.99 * 100 + 0.01 * norms.std(ddof=1)]
        assert head.norms.tolist() == pytest.approx(expected, rel=1e-5)

    def test_one_face_has_no_spread_and_spoils_nothing(self) -> None:
        head = head_of(Margin("adaface", first_norms="released"))
        assert torch.isfinite(head(drawn(1, 1), LABELS[:1])[0])
        assert torch.isfinite(head.norms).all()
