"""params.yaml as a JSON Schema (draft 2020-12), for editors.

It is made from the dataclasses: their types, bounds, names and the comments beside their fields.
What hangs on two values at once is left to `manifests.core.parsing`, which also tells 2 from 2.0.
"""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import tokenize
import types
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from manifests.core.bounds import limits_of
from manifests.core.files import read_json
from manifests.core.parsing import forms_of, required_of

SCHEMA = Path("params/schema.json")
DRAFT = "https://json-schema.org/draft/2020-12/schema"
KEYWORDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
PLAIN = {int: "integer", float: "number", str: "string", bool: "boolean"}

Schema = dict[str, Any]


def schema_of(kind: type) -> Schema:
    """Of a file that holds one `kind`."""
    defs: Schema = {}
    return {"$schema": DRAFT} | section_of(kind, defs) | {"$defs": defs}


def default_params() -> Mapping[str, Any] | None:
    """`Params.recipe` of params.yaml as it came with Facestill; None where no schema lies here."""
    return read_json(SCHEMA).get("default") if SCHEMA.exists() else None


def form_of(kind: Any, defs: Schema) -> Schema:
    """How a value of that type is written: what `parse` takes.

    A dataclass that may be written in several ways has a class method `schema(defs)`, whose
    answer is kept among `defs`.
    """
    if hasattr(kind, "schema"):
        defs[kind.__name__] = kind.schema(defs)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if is_dataclass(kind):
        return section_of(kind, defs)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        limits = limits_of(inner[1])
        return form_of(inner[0], defs) | {KEYWORDS[name]: limits[name] for name in limits}
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [form_of(inner[0], defs), {"type": "null"}]}
    if origin is tuple:
        return {"type": "array", "items": form_of(inner[0], defs)}
    if origin is not None:
        return {"type": "object", "additionalProperties": form_of(inner[1], defs)}
    return {"type": PLAIN[kind]}


def section_of(kind: Any, defs: Schema, *, without: str = "") -> Schema:
    """A section with a dataclass's fields as keys, but for the one `without`."""
    told = comments_of(kind)
    properties = {
        name: form_of(form, defs) for name, form in forms_of(kind).items() if name != without
    }
    for name, comment in told.items():
        if name in properties:
            properties[name] |= {"description": comment}
    return {
        "type": "object",
        **({"description": told[""]} if "" in told else {}),
        "properties": properties,
        "required": required_of(kind),
        "additionalProperties": False,
    }


def comments_of(kind: type) -> dict[str, str]:
    """{field: the comment above and beside it}, from the source; "": the class's own text."""
    source = textwrap.dedent(inspect.getsource(kind))
    lines = source.splitlines()
    remarks = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    (made,) = ast.parse(source).body
    assert isinstance(made, ast.ClassDef)
    found = {"": " ".join((ast.get_docstring(made) or "").split())}
    for node in made.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            own = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            told = [
                *_above(node.lineno, lines, remarks),
                *(remarks[at] for at in own if at in remarks),
            ]
            found[node.target.id] = " ".join(told)
    return {name: text for name, text in found.items() if text}


def _above(line: int, lines: list[str], remarks: dict[int, str]) -> Iterator[str]:
    """The comments that fill the lines directly before a line; lines count from 1."""
    first = line
    while lines[first - 2].lstrip().startswith("#"):
        first -= 1
    yield from (remarks[at] for at in range(first, line))
