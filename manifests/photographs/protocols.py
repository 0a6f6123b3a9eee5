"""Benchmark: a frozen protocol. Pairs with folds, and the sha256 of every image.

Of a template protocol (IJB's) a side is several photographs of one person, compared as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int

from manifests.core.digests import sha256_file, table_digest
from manifests.core.errors import Faults, InputError
from manifests.core.tables import read_versions, write_table
from manifests.photographs.columns import Names, together
from manifests.photographs.names import is_safe
from manifests.photographs.scores import GROUP

# One row a member of a template, a compared pair of templates, or an entry of gallery or probes.
TEMPLATE_SCHEMA = pa.schema(
    {
        "part": pa.string(),  # member, pair, gallery or probe
        "left": pa.string(),  # a template, SUBJECT/TEMPLATE
        "right": pa.string(),  # of a pair: the other template; of a member: its image
        # of a member: the video or photograph that the image is from; of an entry of one of several
        # galleries: which one
        "media": pa.string(),
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
    galleries: tuple[str, ...] = ()  # of several, the name of the one that each entry is of

    def __post_init__(self) -> None:
        if bool(self.gallery) != bool(self.probes):
            raise InputError("templates: 1:N needs both a gallery and probes")
        for part, names in (("gallery", self.gallery), ("probes", self.probes)):
            self.require(part, names)
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise InputError(f"templates: {part} names template {twice!r} twice")
        both = sorted({*self.gallery} & {*self.probes})
        if both:
            raise InputError(f"templates: {both[0]!r} is in gallery and probes: it finds itself")

    def require(self, part: str, names: Sequence[str]) -> None:
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


def templates_to_rows(
    templates: TemplateSet, pairs: Mapping[str, Any], sha256: Mapping[str, str]
) -> pa.Table:
    """Everything of a template protocol as one table; `pairs` has left, right, fold, same and,
    where its people are in groups, group."""
    members = {
        "left": templates.template,
        "right": templates.image,
        "media": templates.media,
        "sha256": [sha256[name] for name in templates.image],
    }
    parts = {
        "member": members,
        "pair": pairs,
        "gallery": {"left": templates.gallery}
        | ({"media": templates.galleries} if templates.galleries else {}),
        "probe": {"left": templates.probes},
    }
    schema = TEMPLATE_SCHEMA.append(GROUP) if GROUP.name in pairs else TEMPLATE_SCHEMA
    return pa.concat_tables([_part_rows(schema, part, own) for part, own in parts.items()])


def _part_rows(schema: pa.Schema, part: str, columns: Mapping[str, Any]) -> pa.Table:
    count = len(columns["left"])
    filled = {"part": Names([part], np.zeros(count, np.int32)), **columns}
    arrays = [
        _array(filled[field.name], field.type)
        if field.name in filled
        else pa.nulls(count, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    return values.arrow() if isinstance(values, Names) else pa.array(values, kind)


def templates_from_rows(table: pa.Table) -> tuple[TemplateSet, dict[str, Any], dict[str, str]]:
    """What `templates_to_rows` was given.

    Raises InputError for a row that is no part of a protocol.
    """
    strange = {str(kind) for kind in table["part"].unique().to_pylist()} - set(FILLED)
    if strange:
        raise InputError(f"a row of part {min(strange)[:40]!r}")
    parts = {part: table.filter(pc.equal(table["part"], part)) for part in FILLED}
    for part, rows in parts.items():
        filled = FILLED[part] | (_grouping(rows) if part == "pair" else set())
        empty = [name for name in filled if rows[name].null_count]
        if empty:
            raise InputError(f"a {part} without {min(empty)}")
    member, pair, named = parts["member"], parts["pair"], parts["gallery"]["media"]
    if 0 < named.null_count < len(named):
        raise InputError("a gallery without media, where others have it")
    templates = TemplateSet(
        *(tuple(member[name].to_pylist()) for name in ("left", "media", "right")),
        *(tuple(parts[part]["left"].to_pylist()) for part in ("gallery", "probe")),
        galleries=() if named.null_count else tuple(named.to_pylist()),
    )
    pairs = _pair_columns(pair)
    hashes = dict(zip(member["right"].to_pylist(), member["sha256"].to_pylist(), strict=True))
    return templates, pairs, hashes


def _grouping(table: pa.Table) -> set[str]:
    return {GROUP.name} & {*table.schema.names}


def _pair_columns(table: pa.Table) -> dict[str, Any]:
    names = {side: Names.of_arrow(table[side]) for side in ("left", "right", *_grouping(table))}
    return {**names, "fold": table["fold"].to_numpy(), "same": table["same"].to_numpy()}


SCHEMA = pa.schema(
    {
        "pair_id": pa.int32(),
        "fold": pa.int16(),
        "left": pa.string(),
        "right": pa.string(),
        "left_sha256": pa.string(),
        "right_sha256": pa.string(),
        "same": pa.bool_(),
    }
)
KIND, TEMPLATE_KIND = "benchmark-1", "template-benchmark-1"
GROUPED = {KIND: "benchmark-2", TEMPLATE_KIND: "template-benchmark-2"}  # with groups of people
SCHEMAS = {KIND: SCHEMA, TEMPLATE_KIND: TEMPLATE_SCHEMA}
SCHEMAS |= {GROUPED[kind]: schema.append(GROUP) for kind, schema in SCHEMAS.items()}
LONGEST_GROUP = 200  # characters
HASHED = {"name", "alignment"}  # metadata that the protocol's hash covers


def check_folds(name: str, fold: Int[np.ndarray, " pair"], same: Bool[np.ndarray, " pair"]) -> None:
    """Raises InputError unless folds are 0, 1, … with pairs of both kinds in each."""
    numbers = np.unique(fold)
    if numbers[0] < 0:
        raise InputError(f"benchmark {name}: fold {numbers[0]}, expected 0, 1, 2, …")
    if not np.array_equal(numbers, np.arange(len(numbers))):
        empty = sorted(set(range(int(numbers.max()) + 1)) - set(numbers.tolist()))
        raise InputError(f"benchmark {name}: fold {empty[0]} has no pairs")
    if len(numbers) < 2:
        raise InputError(f"benchmark {name}: one fold only, at least 2 are needed")
    for number in numbers:
        if len(np.unique(same[fold == number])) < 2:
            raise InputError(f"benchmark {name}: fold {number} needs genuine and impostor pairs")


@dataclass(frozen=True)
class Benchmark:
    """Verification pairs over images that are named relative to one folder (or, in a template
    protocol, over templates of such images)."""

    name: str
    fold: Int[np.ndarray, " pair"]
    left: Sequence[str]
    right: Sequence[str]
    same: Bool[np.ndarray, " pair"]
    sha256: Mapping[str, str]  # of every image, by name
    alignment: str = ""  # the rule by which photographs are, in words; of its hash
    templates: TemplateSet | None = None
    recorded: Mapping[str, str] = field(default_factory=dict)  # decoder and such: not hashed
    group: Sequence[str] | None = None  # of both people of each pair; "": of no one group

    def __post_init__(self) -> None:
        grouped = () if self.group is None else (self.group,)
        columns = (self.left, self.right, self.same, *grouped)
        if {len(column) for column in columns} != {len(self.fold)}:
            raise InputError(f"benchmark {self.name}: pair columns of unlike lengths")
        if not len(self.fold):
            raise InputError(f"benchmark {self.name}: no pairs")
        for name in sorted({*(self.group or ())}):
            if len(name) > LONGEST_GROUP or not is_safe(name):
                raise InputError(
                    f"benchmark {self.name}: group {name[:80]!a}, expected one line of at most "
                    f"{LONGEST_GROUP} characters"
                )
        check_folds(self.name, self.fold, self.same)
        if self.templates:
            self.templates.require("a pair", together(self.left, self.right)[0])
        missing = sorted(set(self.images) - set(self.sha256))
        if missing:
            raise InputError(f"benchmark {self.name}: no hash for image {missing[0]}")

    @property
    def compared(self) -> list[str]:
        """Everything that pairs are made of, sorted: images, or templates."""
        return self.templates.names if self.templates else self.images

    @cached_property
    def images(self) -> list[str]:
        """Every image, sorted."""
        if self.templates:
            return sorted(set(self.templates.image))
        return together(self.left, self.right)[0]

    def image_sha256(self) -> dict[str, str]:
        return {name: self.sha256[name] for name in self.images}

    @cached_property
    def protocol_sha256(self) -> str:
        """Over pairs, folds, image hashes and the alignment rule."""
        return table_digest(self._table(), self._metadata())

    def write(self, path: Path) -> None:
        kind = TEMPLATE_KIND if self.templates else KIND
        kind = kind if self.group is None else GROUPED[kind]
        write_table(path, kind, self._table(), {**self.recorded, **self._metadata()})

    @classmethod
    def read(cls, path: Path) -> Benchmark:
        """Raises InputError for a file that is no benchmark, or was changed."""
        table, metadata, _ = read_versions(path, SCHEMAS)
        of_templates = metadata["kind"] in (TEMPLATE_KIND, GROUPED[TEMPLATE_KIND])
        try:
            members, pairs, hashes = (templates_from_rows if of_templates else _from_rows)(table)
            return cls(
                metadata.get("name", ""),
                np.array(pairs["fold"], np.int16),
                pairs["left"],
                pairs["right"],
                np.array(pairs["same"], bool),
                hashes,
                metadata.get("alignment", ""),
                members,
                {key: metadata[key] for key in metadata.keys() - HASHED - {"kind"}},
                pairs.get("group"),
            )
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def check_images(self, folder: Path) -> None:
        """Raises InputError naming the images that are missing or not the frozen ones."""
        faults = Faults(str(folder))
        for name, wanted in self.image_sha256().items():
            path = folder / name
            if not path.is_file():
                faults.note(f"{path}: benchmark {self.name} names this image; it is missing")
            elif sha256_file(path) != wanted:
                faults.note(f"{path}: not the image that benchmark {self.name} was frozen on")
        faults.raise_any()

    def check_same(self, found: Benchmark) -> None:
        """Raises InputError naming the first thing in which `found` is not this protocol."""
        if found.protocol_sha256 == self.protocol_sha256:
            return
        for wanted, have in ((self.name, found.name), (self.alignment, found.alignment)):
            if wanted != have:
                raise InputError(f"frozen for {wanted!r}, found {have!r}")
        self._check_list("pair", self._pairs(), found._pairs())
        self._check_list("pair's group", self.group or (), found.group or ())
        for part in ("template", "media", "image", "gallery", "probes", "galleries"):
            frozen, here = (getattr(b.templates, part, ()) for b in (self, found))
            self._check_list(f"{part} entry", frozen, here)
        changed = [name for name in self.images if self.sha256[name] != found.sha256[name]]
        raise InputError(f"image {changed[0]} is not the one that was frozen")

    def _pairs(self) -> list[str]:
        rows = zip(self.fold.tolist(), self.left, self.right, self.same.tolist(), strict=True)
        return [f"fold {fold}, {a} {b}, same {int(same)}" for fold, a, b, same in rows]

    @staticmethod
    def _check_list(what: str, frozen: Any, found: Any) -> None:
        for row, (wanted, have) in enumerate(zip_longest(frozen, found, fillvalue="none")):
            if wanted != have:
                raise InputError(
                    f"frozen on {len(frozen)} rows, found {len(found)}; the first unlike {what} "
                    f"is {row}: frozen {wanted}; found {have}"
                )

    def _table(self) -> pa.Table:
        names = ("left", "right", "fold", "same", *(() if self.group is None else (GROUP.name,)))
        columns = {name: getattr(self, name) for name in names}
        if self.templates:
            return templates_to_rows(self.templates, columns, self.sha256)
        columns["pair_id"] = np.arange(len(self.fold))
        for side in ("left", "right"):
            columns[f"{side}_sha256"] = [self.sha256[name] for name in columns[side]]
        schema = SCHEMA if self.group is None else SCHEMA.append(GROUP)
        arrays = [_array(columns[field.name], field.type) for field in schema]
        return pa.Table.from_arrays(arrays, schema=schema)

    def _metadata(self) -> dict[str, str]:
        return {"name": self.name, "alignment": self.alignment}


def _from_rows(table: pa.Table) -> tuple[None, dict[str, Any], dict[str, str]]:
    empty = [name for name in table.schema.names if table[name].null_count]
    if empty:
        raise InputError(f"a pair without {empty[0]}")
    pairs = _pair_columns(table)
    hashes: dict[str, str] = {}
    for side in ("left", "right"):
        for name, sha256 in zip(pairs[side], table[f"{side}_sha256"].to_pylist(), strict=True):
            if hashes.setdefault(name, sha256) != sha256:
                raise InputError(f"two hashes for image {name}")
    return None, pairs, hashes
