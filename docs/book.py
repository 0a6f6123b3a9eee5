"""Hooks of the book: pages of reference that are made from the code whenever it is built."""

from __future__ import annotations

import importlib
import inspect
import io
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any
from unittest import mock

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = (  # what lies on disk: a title, the file that reads it, and what of that
    ("A round's manifest, `manifests/rounds/ROUND.parquet`", "manifests.stores.latents",
     "Recipe LatentManifest schema"),
    ("A store's passport, `passport.json`", "manifests.stores.passport",
     "Fingerprint Provenance Passport"),
    ("A store's ledger, `ledger.jsonl`", "manifests.building.ledger", "LedgerLine"),
    ("Face stores and teacher stores", "manifests.stores.reading", "FaceStore TeacherStore"),
    ("Marks", "manifests.records.marks", "Mark Marks"),
    ("Gaps", "manifests.records.gaps", "GapTable"),
    ("Boundaries", "manifests.records.boundaries", "Boundaries"),
    ("Attributes", "manifests.records.attributes", "Attribute Source AttributeTable"),
    ("Qualities", "manifests.records.qualities", "QualityTable"),
    ("An export, `export.json`", "manifests.records.exports",
     "Export StudentFacts Training Parity"),
    ("A packed round, `FILE.h5`", "manifests.takeaway.hdf5", "Contents Form"),
)  # fmt: skip


def on_files(files: Files, config: MkDocsConfig) -> Files:
    sys.path.insert(0, str(ROOT))
    for name, make in PAGES.items():
        text = "\n".join(make())
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Links to files of the repository are words in the book, which may stand elsewhere."""
    outside = re.escape("../" * (1 + page.file.src_uri.count("/")))
    return re.sub(rf"\[([^\]]+)\]\({outside}[^)]*\)", r"\1", markdown)


def commands() -> Iterator[str]:
    from facestill import GROUPS, find_verbs

    yield "# Commands\n\nWhat `facestill VERB --help` says of each.\n"
    verbs = find_verbs(ROOT).values()
    for group, title in GROUPS.items():
        yield f"## {title}\n"
        for verb in (verb for verb in verbs if verb.group == group):
            yield f"### {verb.name}\n\n```text\n{_help(verb.name, verb.module)}\n```\n"


def _help(name: str, module: str) -> str:
    printed = io.StringIO()
    argv = mock.patch.object(sys, "argv", [f"facestill {name}", "--help"])
    with redirect_stdout(printed), argv, suppress(SystemExit):
        importlib.import_module(module).main()
    return printed.getvalue().strip()


def parameters() -> Iterator[str]:
    yield "# Parameters\n\n`params.yaml` as it ships, then what each key may hold.\n"
    yield f"```yaml\n{(ROOT / 'params.yaml').read_text(encoding='utf-8')}\n```\n"
    yield "| key | what it may hold | meaning |\n|---|---|---|"
    schema = json.loads((ROOT / "params/schema.json").read_text(encoding="utf-8"))
    for key, own in _leaves(schema, schema, ""):
        yield f"| `{key}` | {_holds(own)} | {_cell(own.get('description', ''))} |"


def _leaves(
    node: Mapping[str, Any], schema: Mapping[str, Any], path: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(dotted key, its schema) of whatever is no section itself."""
    if "$ref" in node:
        target: Any = schema
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = {**target, **node}
    inside = dict(node.get("properties", {}))
    if isinstance(node.get("additionalProperties"), dict):
        inside["NAME"] = node["additionalProperties"]
    for key, own in inside.items():
        yield from _leaves(own, schema, f"{path}.{key}" if path else key)
    if not inside:
        yield path, node


def _holds(own: Mapping[str, Any]) -> str:
    if "enum" in own:
        return _cell(", ".join(json.dumps(value) for value in own["enum"]))
    if "anyOf" in own:
        return " or ".join(dict.fromkeys(_holds(each) for each in own["anyOf"]))
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [
        f"{sign} {own[key]:g}" for key, sign in signs.items() if abs(own.get(key, 1e38)) < 1e38
    ]
    return _cell(", ".join([str(own.get("type", "any")), *bounds]))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def contracts() -> Iterator[str]:
    yield "# What lies on disk\n\nThe code that reads it, fields with their comments.\n"
    for title, module, names in CONTRACTS:
        yield f"## {title}\n\n`{module.replace('.', '/')}.py`\n"
        for name in names.split():
            source = inspect.getsource(getattr(importlib.import_module(module), name))
            yield f"```python\n{source}```\n"


PAGES: Mapping[str, Callable[[], Iterator[str]]] = {
    "commands": commands,
    "parameters": parameters,
    "contracts": contracts,
}
