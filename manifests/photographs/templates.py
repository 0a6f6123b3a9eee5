"""Templates: several photographs of one person, compared as one (IJB's protocols)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from manifests.core.errors import InputError

# One row a member of a template, a compared pair of templates, or an entry of gallery or probes.
SCHEMA = pa.schema(
    {
        "part": pa.string(),  # member, pair, gallery or probe
        "left": pa.string(),  # a template, SUBJECT/TEMPLATE
        "right": pa.string(),  # of a pair: the other template; of a member: its image
        "media": pa.string(),  # of a member: the video or photograph that the image is from
        "sha256": pa.string(),  # of a member's image
        "fold": pa.int16(),
        "same": pa.bool_(),
    }
)
FILLED = {  # columns that a part has
    "member": {"left", "right", "media", "sha256"},
    "pair": {"left", "right", "fold", "same"},
    "gallery": {"left"},
    "probe": {"left"},
}


@dataclass(frozen=True)
class TemplateSet:
    """The members of every template, and who is searched for among whom (1:N).

    A template is called SUBJECT/TEMPLATE, so that its name says whose it is.
    """

    template: tuple[str, ...]  # of each member
    media: tuple[str, ...]
    image: tuple[str, ...]
    gallery: tuple[str, ...] = ()  # templates
    probes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.gallery) != bool(self.probes):
            raise InputError("templates: 1:N needs both a gallery and probes")
        for part, names in (("gallery", self.gallery), ("probes", self.probes)):
            self.require(part, names)
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise InputError(f"templates: {part} names template {twice!r} twice")

    def require(self, part: str, names: tuple[str, ...]) -> None:
        """Raises InputError for the first name that no template has."""
        unknown = next((name for name in names if name not in self.known), None)
        if unknown is not None:
            raise InputError(f"templates: {part} names template {unknown!r}, which has no images")

    @cached_property
    def known(self) -> frozenset[str]:
        return frozenset(self.template)

    @property
    def names(self) -> list[str]:
        """Every template, sorted."""
        return sorted(self.known)


def to_rows(
    templates: TemplateSet, pairs: Mapping[str, Any], sha256: Mapping[str, str]
) -> pa.Table:
    """Everything of a template protocol as one table; `pairs` has left, right, fold, same."""
    members = {
        "left": templates.template,
        "right": templates.image,
        "media": templates.media,
        "sha256": [sha256[name] for name in templates.image],
    }
    parts = {
        "member": members,
        "pair": pairs,
        "gallery": {"left": templates.gallery},
        "probe": {"left": templates.probes},
    }
    return pa.concat_tables([_rows(part, columns) for part, columns in parts.items()])


def _rows(part: str, columns: Mapping[str, Any]) -> pa.Table:
    count = len(columns["left"])
    filled = {"part": [part] * count, **columns}
    arrays = [
        pa.array(filled[field.name], field.type)
        if field.name in filled
        else pa.nulls(count, field.type)
        for field in SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def from_rows(table: pa.Table) -> tuple[TemplateSet, dict[str, Any], dict[str, str]]:
    """What `to_rows` was given. Raises InputError for a row that is no part of a protocol."""
    kinds = table["part"].to_pylist()
    if set(kinds) - set(FILLED):
        raise InputError(f"a row of part {min(set(map(str, kinds)) - set(FILLED))[:40]!r}")
    parts = {part: table.filter(pa.array([kind == part for kind in kinds])) for part in FILLED}
    for part, rows in parts.items():
        empty = [name for name in FILLED[part] if rows[name].null_count]
        if empty:
            raise InputError(f"a {part} without {min(empty)}")
    member, pair = parts["member"], parts["pair"]
    templates = TemplateSet(
        *(tuple(member[name].to_pylist()) for name in ("left", "media", "right")),
        *(tuple(parts[part]["left"].to_pylist()) for part in ("gallery", "probe")),
    )
    pairs = {name: pair[name].to_pylist() for name in FILLED["pair"]}
    hashes = dict(zip(member["right"].to_pylist(), member["sha256"].to_pylist(), strict=True))
    return templates, pairs, hashes
