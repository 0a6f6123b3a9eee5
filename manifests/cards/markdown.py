"""Cards as Markdown: whatever a template shows is escaped, for it may be a stranger's."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

# To Markdown: anywhere within a line, or where a line or list item begins.
MEANINGFUL = re.compile(r"[\\`*_\[\]|~$#!]|^\d*[-+=.)]")


class Markdown(str):
    """Text that is Markdown already: the template does not escape it again."""

    def __html__(self) -> str:
        return self


def inline(value: Any) -> Any:
    """Any value as plain text within one line of Markdown, also of a table."""
    if hasattr(value, "__html__"):  # Markdown, or the template's own macro
        return value
    text = one_line(f"{value:,}" if type(value) is int else str(value))
    return Markdown(MEANINGFUL.sub(_escape, html.escape(text, quote=False)))


def _escape(found: re.Match[str]) -> str:
    return f"{found[0][:-1]}\\{found[0][-1]}"


def code(value: Any) -> Any:
    """A name or digest as code; what cannot stand between backticks, as plain text."""
    text = one_line(str(value))
    return inline(text) if set(text) & set("`|") or not text else Markdown(f"`{text}`")


def one_line(text: str) -> str:
    """Without line breaks, control characters and marks that turn the direction of text."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def render(template: str, **values: Any) -> str:
    """A template of this folder, every value that it shows escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=inline,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(code=code, raw=Markdown)
    return environment.get_template(template).render(**values)
