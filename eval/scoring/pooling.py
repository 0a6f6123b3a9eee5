"""Embeddings of templates: several photographs of a person made one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from eval.scoring.similarity import prepared
from manifests.photographs.protocols import TemplateSet

ROWS = 8192  # members gathered at a time


def pool_templates(
    templates: TemplateSet,
    images: Sequence[str],
    rows: Float[np.ndarray, "image width"],
    metric: str,
    weights: Float[np.ndarray, " image"] | None = None,
) -> Float[np.ndarray, "template width"]:
    """Media pooling (IJB-A's convention, Whitelam et al. 2017): the mean within each medium of a
    template, then the mean over its media; for cosine of unit vectors, and of unit length again.
    With `weights` an image counts by its own, in its medium and in its template alike, as
    InsightFace's evaluation of IJB has its detector's scores count.

    Rows are in the order of `images`; templates come in the order of their names.
    """
    row_of = {name: row for row, name in enumerate(images)}
    row = np.array([row_of[name] for name in templates.image])
    medium, template_of = _media(templates)
    shares = np.ones((len(images), 1)) if weights is None else weights[:, None]
    media = _means(rows, row, medium, len(template_of), metric, shares)
    pooled = _means(media, np.arange(len(media)), template_of, len(templates.names), "")
    if weights is not None:
        mass = _means(np.ones_like(shares), row, medium, len(template_of), "", shares)
        pooled /= _means(mass, np.arange(len(mass)), template_of, len(pooled), "")
    return prepared(pooled, metric)


def _media(templates: TemplateSet) -> tuple[Int[np.ndarray, " member"], Int[np.ndarray, " medium"]]:
    """The medium of each member, and the template of each medium: one photograph or video that
    is in two templates is a medium of either."""
    keys = [*zip(templates.template, templates.media, strict=True)]
    number = {key: place for place, key in enumerate(sorted(set(keys)))}
    place = {name: row for row, name in enumerate(templates.names)}
    return np.array([number[key] for key in keys]), np.array([place[key[0]] for key in number])


def _means(
    rows: np.ndarray,
    row: np.ndarray,
    into: np.ndarray,
    count: int,
    metric: str,
    shares: Float[np.ndarray, "row 1"] | None = None,
) -> Float[np.ndarray, "group width"]:
    """The mean row of every group, each times its share; gathered a block at a time."""
    sums = np.zeros((count, rows.shape[1]))
    for at in range(0, len(row), ROWS):
        part = slice(at, at + ROWS)
        values = prepared(rows[row[part]].astype(np.float64), metric)
        np.add.at(sums, into[part], values if shares is None else values * shares[row[part]])
    return sums / np.bincount(into, minlength=count)[:, None]


def undetected(
    templates: TemplateSet, images: Sequence[str], detected: Bool[np.ndarray, " image"]
) -> Bool[np.ndarray, " template"]:
    """Templates with no image in which a face was found, in the order of their names."""
    found = {name for name, yes in zip(images, detected, strict=True) if yes}
    members = zip(templates.template, templates.image, strict=True)
    good = {template for template, image in members if image in found}
    return np.array([name not in good for name in templates.names])
