"""The page of `--for web` in Chromium: pictures that a user chooses, embedded where they are.

The network is a folder here, with onnxruntime-web as npm has it under the address of the CDN: so
the page runs as it is, and its digests are held against the real files.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser import Tab, needs_chromium, visit
from tests.clients import picture, rows_of_the_student
from tests.conftest import ROOT
from tests.exports import RUN
from tests.train.exporting.toys import OUT
from train.exporting.client_files import cosines
from train.exporting.clients import web

DIST = ROOT / ".venv-clients/node_modules/onnxruntime-web/dist"
HERE, PATIENCE = "https://student.test/", 120.0  # seconds: a busy machine is not a failure
needs_runtime = pytest.mark.skipif(
    not DIST.is_dir(), reason="no onnxruntime-web here; make clients brings it"
)


def cdn() -> str:
    assert web.CLIENT.page is not None
    (address,) = re.findall('DIST = "(.*?)"', web.CLIENT.page.read_text())
    return str(address)


async def until(tab: Tab, expression: str) -> Any:
    """The expression's value, once it is anything."""
    for _ in range(int(PATIENCE / 0.1)):
        value = await tab.run(expression)
        if value:
            return value
        await asyncio.sleep(0.1)
    raise AssertionError(f"{expression}: nothing in {PATIENCE:g} s; {tab.complaints}")


async def choose(tab: Tab, panel: str, file: Path) -> None:
    root = (await tab.send("DOM.getDocument"))["root"]["nodeId"]
    found = await tab.send("DOM.querySelector", nodeId=root, selector=f"#{panel} input")
    files = [str(file.resolve())]
    await tab.send("DOM.setFileInputFiles", nodeId=found["nodeId"], files=files)


async def click(tab: Tab, panel: str, share: tuple[float, float]) -> None:
    """At this share of the width and height of a panel's picture."""
    canvas = f"document.querySelector('#{panel} .picture')"
    await tab.run(f"{canvas}.scrollIntoView({{ block: 'center' }})")
    box = json.loads(await tab.run(f"JSON.stringify({canvas}.getBoundingClientRect())"))
    x, y = box["x"] + share[0] * box["width"], box["y"] + share[1] * box["height"]
    for kind in ("mousePressed", "mouseReleased"):
        await tab.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def embedding(panel: str) -> str:
    inside = f"document.getElementById('{panel}').embedding"
    return f"{inside} && JSON.stringify([...{inside}])"


def write_pictures(folder: Path) -> np.ndarray:
    """crop.png, 112 x 112; and wide.png, where a crop lies twice as large, 100 pixels from the
    left and 40 from above. Returns both crops."""
    crops = np.stack([picture(112), picture(112)[::-1, ::-1]])
    Image.fromarray(crops[0]).save(folder / "crop.png")
    wide = Image.new("RGB", (400, 300))
    wide.paste(Image.fromarray(crops[1]).resize((224, 224), Image.Resampling.BICUBIC), (100, 40))
    wide.save(folder / "wide.png")
    return crops


@pytest.mark.browser
@needs_chromium
@needs_runtime
@pytest.mark.parametrize(("query", "least"), [("", 0.9999), ("?int8", 0.995)])
def test_two_pictures_are_embedded_as_the_student_embeds_them(
    inside: Path, tmp_path: Path, query: str, least: float
) -> None:
    crops = write_pictures(tmp_path)
    wanted = rows_of_the_student(RUN, crops)

    async def look(tab: Tab) -> tuple[list[np.ndarray], str]:
        await tab.serve({HERE: OUT / "web", cdn(): DIST})
        await tab.open(f"{HERE}index.html{query}", width=800, dark=False)
        await choose(tab, "one", tmp_path / "crop.png")
        one = await until(tab, embedding("one"))
        await choose(tab, "two", tmp_path / "wide.png")
        await until(tab, "document.querySelector('#two .says').textContent.startsWith('Click')")
        for x, y in ((38.795, 52.196), (74.032, 52.001)):
            await click(tab, "two", ((100 + 2 * x) / 400, (40 + 2 * y) / 300))
        two = await until(tab, embedding("two"))
        said = await until(tab, "document.querySelector('output').textContent")
        assert tab.complaints == []
        assert all(asked.startswith((HERE, cdn(), "blob:", "data:")) for asked in tab.requests)
        return [np.array(json.loads(row)) for row in (one, two)], said

    rows, said = visit(tmp_path, look)
    exact, clicked = cosines(np.stack(rows), wanted)
    assert exact > least
    assert clicked > 0.98  # eyes by whole pixels of the screen, and resampled twice
    assert said == f"Cosine {cosines(rows[0][None], rows[1][None])[0]:.4f}"


@pytest.mark.browser
@needs_chromium
@needs_runtime
def test_a_runtime_that_was_changed_does_not_load(inside: Path, tmp_path: Path) -> None:
    changed = tmp_path / "dist"
    changed.mkdir()
    for path in DIST.glob("ort*wasm*"):
        (changed / path.name).symlink_to(path)
    bundle = changed / "ort.wasm.bundle.min.mjs"
    text = bundle.read_text()
    bundle.unlink()
    bundle.write_text(text + "\n")

    async def look(tab: Tab) -> str:
        await tab.serve({HERE: OUT / "web", cdn(): changed})
        await tab.open(f"{HERE}index.html", width=800, dark=False)
        said = "document.querySelector('output').textContent"
        return str(await until(tab, f"!{said}.startsWith('Loading') && {said}"))

    assert visit(tmp_path, look).startswith("Cannot start")
