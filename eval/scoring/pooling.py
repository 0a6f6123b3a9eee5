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
) -> Float[np.ndarray, "template width"]:
    """Media pooling (IJB-A's convention, Whitelam et al. 2017): the mean within each medium of a
    template, then the mean over its media; for cosine of unit vectors, and of unit length again.

    Rows are in the order of `images`; templates come in the order of their names.
    """
    row_of = {name: row for row, name in enumerate(images)}
    row = np.array([row_of[name] for name in templates.image])
    medium, template_of = _media(templates)
    media = _means(rows, row, medium, len(template_of), metric)
    pooled = _means(media, np.arange(len(media)), template_of, len(templates.names), "")
    return prepared(pooled, metric)


def _media(templates: TemplateSet) -> tuple[Int[np.ndarray, " member"], Int[np.ndarray, " medium"]]:
    """The medium of each member, and the template of each medium: one photograph or video that
    is in two templates is a medium of either."""
    keys = [*zip(templates.template, templates.media, strict=True)]
    number = {key: place for place, key in enumerate(sorted(set(keys)))}
    place = {name: row for row, name in enumerate(templates.names)}
    return np.array([number[key] for key in keys]), np.array([place[key[0]] for key in number])


def _means(
    rows: np.ndarray, row: np.ndarray, into: np.ndarray, count: int, metric: str
) -> Float[np.ndarray, "group width"]:
    """The mean row of every group; gathered a block at a time."""
    sums = np.zeros((count, rows.shape[1]))
    for at in range(0, len(row), ROWS):
        part = slice(at, at + ROWS)
        np.add.at(sums, into[part], prepared(rows[row[part]].astype(np.float64), metric))
    return sums / np.bincount(into, minlength=count)[:, None]


def undetected(
    templates: TemplateSet, images: Sequence[str], detected: Bool[np.ndarray, " image"]
) -> Bool[np.ndarray, " template"]:
    """Templates with no image in which a face was found, in the order of their names."""
    found = {name for name, yes in zip(images, detected, strict=True) if yes}
    members = zip(templates.template, templates.image, strict=True)
    good = {template for template, image in members if image in found}
    return np.array([name not in good for name in templates.names])
