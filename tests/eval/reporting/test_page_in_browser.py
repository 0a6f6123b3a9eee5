"""The report's page as a reader meets it, in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from eval.report import gather, write_reports
from manifests.core import layout
from manifests.settings.params import Verify, load_params
from tests.browser import Tab, needs_chromium, visit
from tests.conftest import ROOT
from tests.fabricated_runs import make_costs, make_drift, make_everything

PHONE, DESK = 360, 1280
MOST_BYTES = 1 << 20  # of a page whose faces are noise, which takes the most
LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3

# The contrast of every text with the nearest opaque background behind it; the worst first.
CONTRASTS = """
(() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility()) continue;
    const pair = [numbers(getComputedStyle(element).color), behind(element)].map(luminance);
    const [dark, light] = pair.sort((a, b) => a - b);
    found.push([(light + 0.05) / (dark + 0.05), text.slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]).slice(0, 3);
})()
"""
FACTS = {
    "width": "document.documentElement.scrollWidth",
    "images": "document.images.length",
    "broken": "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt)",
    "mute": "[...document.images].filter(i => i.alt.trim().length < 10).length",
    "headings": "[...document.querySelectorAll('h1,h2,h3,h4')].map(h => Number(h.tagName[1]))",
    "landmarks": "[...document.querySelectorAll('header,nav,main,footer')].map(e => e.localName)",
    "scopeless": "[...document.querySelectorAll('th')].filter(t => !t.scope).length",
    "nowhere": "[...document.links].filter(a => !document.querySelector(a.hash)).length",
    "twice": "(ids => ids.length - new Set(ids).size)([...document.querySelectorAll('[id]')]"
    ".map(e => e.id))",
    # What overflows must be reachable by keyboard.
    "stuck": "[...document.querySelectorAll('main *')].filter(e => e.tabIndex < 0 && "
    "getComputedStyle(e).overflowX === 'auto' && e.scrollWidth > e.clientWidth + 1).length",
    "contrasts": CONTRASTS,
    # A reader meets these before the first section.
    "first": "['behind', 'why'].map(id => document.getElementById(id).getBoundingClientRect().top)",
    # What a face strip shows: by the heads above it, or by its own caption.
    "captions": "[...document.querySelectorAll('.sides figcaption')].filter("
    "c => c.checkVisibility()).length",
    "heads": "[...document.querySelectorAll('.sides.head span')].filter("
    "s => s.checkVisibility()).length",
    "language": "document.documentElement.lang",
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Path]:
    """A report with every section."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        layout.DATA.mkdir()
        (layout.DATA / "weights").symlink_to(weights)
        make_everything(benchmarks=["orl"], photographs=Path("album"))
        make_costs()
        make_drift()
        params = replace(
            load_params(ROOT / "params.yaml"), teacher="toy", verify=Verify("album", None)
        )
        write_reports(gather("mined-2", params), params, layout.REPORTS)
        yield folder / layout.REPORTS / "index.html"


@needs_chromium
@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(PHONE, False), (DESK, True)])
def test_the_page_reads_well(page: Path, tmp_path: Path, width: int, dark: bool) -> None:
    async def look(tab: Tab) -> dict[str, Any]:
        await tab.open(page, width=width, dark=dark)
        found = {name: await tab.run(expression) for name, expression in FACTS.items()}
        return found | {"complaints": tab.complaints, "requests": tab.requests}

    found = visit(tmp_path, look)
    assert found["complaints"] == []
    assert {url.partition(":")[0] for url in found["requests"]} <= {"file", "data"}
    assert [url for url in found["requests"] if url.startswith("file:")] == [page.as_uri()]
    assert found["width"] <= width  # nothing to scroll to on the right
    assert page.stat().st_size < MOST_BYTES
    assert found["images"] > 30 and found["broken"] == []
    assert (found["mute"], found["scopeless"], found["nowhere"], found["twice"]) == (0, 0, 0, 0)
    assert found["stuck"] == 0
    headings = found["headings"]
    assert headings[0] == 1 and headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    assert found["landmarks"] == ["header", "nav", "main", "footer"]
    assert found["contrasts"][0][0] >= LEAST_CONTRAST, found["contrasts"]
    assert found["language"] == "en"
    assert max(found["first"][: 1 if width == PHONE else 2]) < 800
    assert (found["captions"] > 0, found["heads"] > 0) == (width == PHONE, width == DESK)


@needs_chromium
@pytest.mark.browser
def test_the_keyboard_leads_past_the_links_into_the_results(page: Path, tmp_path: Path) -> None:
    async def look(tab: Tab) -> list[Any]:
        await tab.open(page, width=DESK, dark=False)
        await tab.press("Tab")
        seen = [
            await tab.run("document.activeElement.className"),
            await tab.run("document.activeElement.getBoundingClientRect().left"),
            await tab.run("getComputedStyle(document.activeElement).outlineStyle"),
        ]
        await tab.press("Enter")
        await tab.press("Tab")
        place = "main.compareDocumentPosition(document.activeElement) & 16"  # 16: inside
        return [*seen, await tab.run(f"(main => {place})(document.querySelector('main'))")]

    name, left, outline, inside = visit(tmp_path, look)
    assert name == "skip" and left >= 0
    assert outline == "solid"
    assert inside
