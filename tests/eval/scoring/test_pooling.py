"""Media pooling against its slow twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.scoring import pooling
from eval.scoring.pooling import pool_templates, undetected
from manifests.photographs.protocols import TemplateSet
from tests.references import pool_media

MEMBERS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from("012345")),
    min_size=1,
    max_size=30,
)


@given(MEMBERS, st.sampled_from(["cosine", "euclidean"]), st.booleans())
@settings(max_examples=60)
def test_pooling_is_its_twin(
    members: list[tuple[str, str, str]], metric: str, weighed: bool
) -> None:
    templates = TemplateSet(*zip(*members, strict=True))
    rows = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    weights = np.linspace(0.1, 1.0, 6) if weighed else None
    found = pool_templates(templates, list("012345"), rows, metric, weights)
    by_name = {str(k): 1.0 if weights is None else weights[k] for k in range(6)}
    embedding = {str(k): row for k, row in enumerate(rows)}
    wanted = pool_media(members, embedding, metric == "cosine", by_name)
    np.testing.assert_allclose(found, [wanted[name] for name in templates.names], atol=1e-12)


def test_gathering_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [str(k) for k in range(50)]
    templates = TemplateSet(("t",) * 50, ("m",) * 50, tuple(images))
    rows = np.random.default_rng(1).standard_normal((50, 3))
    whole = pool_templates(templates, images, rows, "cosine")
    monkeypatch.setattr(pooling, "ROWS", 7)
    parts = pool_templates(templates, images, rows, "cosine")
    np.testing.assert_allclose(whole, parts, atol=1e-15)


def test_a_template_failed_when_no_face_of_it_was_found() -> None:
    templates = TemplateSet(("a", "a", "b"), ("x", "x", "x"), ("0", "1", "1"))
    assert undetected(templates, ["0", "1"], np.array([True, False])).tolist() == [False, True]
