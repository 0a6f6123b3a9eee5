"""The page: its data are the round's, and in Chromium it shows what was chosen, as text."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval.browsing.page import BEGINS, NEIGHBOURS, Walk, data_of, neighbours, write_page
from eval.browsing.projection import along, project
from eval.browsing.shelf import shelf_of
from manifests.core import layout
from manifests.records.marks import NEAR_DUPLICATE, Mark, Marks
from manifests.stores.rounds import open_round
from tests.browser import Tab, needs_chromium, visit
from tests.eval.reporting.test_page_in_browser import CONTRASTS, LEAST_CONTRAST
from tests.toys import make_round

HOSTILE = "</script><img src=x onerror=\"document.title='taken'\">"
PHONE, DESK = 400, 1280


def walk_of(round: str) -> Walk:
    files = open_round(round, "toy")
    shelf = shelf_of(files, np.arange(len(files.faces)))
    places = project(shelf.vectors)
    return Walk(shelf, places, along(places))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Walk, Path]]:
    """A round of a stranger's texts, and the folder of its page; in the folder of both."""
    folder = tmp_path_factory.mktemp("browsed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        parents = np.arange(90) + (1 << 61)
        make_round("pool", 90, law=HOSTILE, identity_id=np.arange(90) // 9, parent_id=parents)
        files = open_round("pool", "toy")
        row = int(np.flatnonzero(files.faces.ok())[3])
        marks = (Mark(row, NEAR_DUPLICATE, 0.91, HOSTILE, 5),)
        own = Marks(marks, files.faces.root, files.teacher.root, {})
        own.write(layout.marks("pool", "toy"))
        walk = walk_of("pool")
        write_page(walk, folder / "page")
        yield walk, folder / "page"


def unpacked(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def test_the_data_are_the_rounds_in_the_pages_order(made: tuple[Walk, Path]) -> None:
    walk, folder = made
    text = (folder / "data.js").read_text()
    data = json.loads(text.removeprefix(BEGINS).removesuffix(";\n"))
    assert text.isascii() and data == json.loads(json.dumps(data_of(walk)))
    rows = unpacked(data["row"], "<u4")
    np.testing.assert_array_equal(rows, walk.shelf.rows[walk.order])
    ids = walk.shelf.files.require_manifest().face_id[rows]
    np.testing.assert_array_equal(unpacked(data["ids"]["face_id"], "<i8"), ids)
    np.testing.assert_array_equal(
        unpacked(data["ids"]["parent_id"], "<i8"), rows.astype(np.int64) + (1 << 61)
    )
    x = unpacked(data["x"], "<u2") / 65535
    np.testing.assert_allclose(x, walk.places[walk.order, 0], atol=1e-5)
    ((place, said),) = data["marks"].items()
    assert rows[int(place)] == next(iter(walk.shelf.marks)) and HOSTILE in said[0]


def test_neighbours_are_the_most_alike_others() -> None:
    rows = np.random.default_rng(0).standard_normal((60, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    near, cosines = neighbours(rows)
    every = rows @ rows.T
    np.fill_diagonal(every, -2)
    np.testing.assert_array_equal(near, np.argsort(-every, axis=1)[:, :NEIGHBOURS])
    np.testing.assert_allclose(cosines, -np.sort(-every, axis=1)[:, :NEIGHBOURS], atol=1e-6)
    assert neighbours(rows[:1])[0].shape == (1, 0)


def test_a_smaller_page_leaves_no_sheets_of_a_larger_one(
    made: tuple[Walk, Path], tmp_path: Path
) -> None:
    (tmp_path / "sheets").mkdir()
    (tmp_path / "sheets/large-7.webp").touch()
    write_page(made[0], tmp_path)
    assert {path.name for path in (tmp_path / "sheets").iterdir()} == {
        "small-0.webp", "large-0.webp",
    }  # fmt: skip


Look = Callable[[Tab], Awaitable[Any]]


def opened(page: Path, tmp_path: Path, look: Look, *, width: int = DESK, dark: bool = False) -> Any:
    async def begin(tab: Tab) -> Any:
        await tab.open(page / "index.html", width=width, dark=dark)
        return await look(tab), tab.complaints, tab.requests

    return visit(tmp_path, begin)


@needs_chromium
@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(PHONE, True), (DESK, False)])
@pytest.mark.parametrize("view", ["map", "shelves"])
def test_the_page_reads_well_and_loads_nothing_from_elsewhere(
    made: tuple[Walk, Path], tmp_path: Path, width: int, dark: bool, view: str
) -> None:
    async def look(tab: Tab) -> dict[str, Any]:
        await tab.run(f"byId('to-{view}').click()")
        await tab.run("choose(5)")
        return {
            "width": await tab.run("document.documentElement.scrollWidth"),
            "contrasts": await tab.run(CONTRASTS),
            "title": await tab.run("document.title"),
            "images": await tab.run("document.images.length"),
            "shown": await tab.run("byId('record').textContent"),
        }

    found, complaints, requests = opened(made[1], tmp_path, look, width=width, dark=dark)
    assert complaints == [] and found["width"] <= width
    assert found["contrasts"][0][0] >= LEAST_CONTRAST, found["contrasts"]
    assert found["title"] == "Facestill: round pool" and found["images"] == 0
    assert HOSTILE in found["shown"]  # as text
    assert all(url.startswith(made[1].as_uri()) for url in requests)


@needs_chromium
@pytest.mark.browser
def test_a_chosen_face_is_shown_with_its_own_picture_and_neighbours(
    made: tuple[Walk, Path], tmp_path: Path
) -> None:
    walk, folder = made

    async def look(tab: Tab) -> Any:
        await tab.run("choose(17)")
        box = "JSON.stringify(byId('portrait').getBoundingClientRect())"
        while not await tab.run("state.large.draw(context, 17, 0, 0, 1)"):
            pass
        await tab.run("portrait()")
        clip = {
            name: json.loads(await tab.run(box))[name] for name in ("x", "y", "width", "height")
        }
        shot = await tab.send("Page.captureScreenshot", format="png", clip={**clip, "scale": 1})
        title = await tab.run("byId('title').textContent")
        names = "[...byId('neighbours').children].map(own => own.getAttribute('aria-label'))"
        return shot["data"], title, await tab.run(names)

    (picture, title, names), _, _ = opened(folder, tmp_path, look)
    row = int(walk.shelf.rows[walk.order][17])
    assert title == f"Row {row}"
    shown = Image.open(io.BytesIO(base64.b64decode(picture))).convert("L").resize((32, 32))
    store = walk.shelf.files.faces
    greys = [np.asarray(Image.fromarray(own).convert("L")) for own in store.images(0, len(store))]
    alike = [np.corrcoef(np.asarray(shown).ravel(), grey.ravel())[0, 1] for grey in greys]
    assert int(np.argmax(alike)) == row and max(alike) > 0.5
    near, cosines = neighbours(walk.shelf.vectors[walk.order])
    rows = walk.shelf.rows[walk.order][near[17]]
    assert names == [
        f"row {own}, cosine {cosine:.3f}" for own, cosine in zip(rows, cosines[17], strict=True)
    ]


KEY = "stage.dispatchEvent(new KeyboardEvent('keydown', {{key: '{}'}}))"


@needs_chromium
@pytest.mark.browser
def test_groups_orders_and_keys_lead_through_the_faces(
    made: tuple[Walk, Path], tmp_path: Path
) -> None:
    async def look(tab: Tab) -> list[Any]:
        identity = "data.kinds.findIndex(own => own.name === 'identity')"
        await tab.run(f"byId('group').value = {identity}, byId('group').onchange()")
        groups = await tab.run("state.groups.map(own => own.faces.length)")
        await tab.run("byId('only').value = 0, byId('only').onchange()")
        few = await tab.run("state.faces.length")
        await tab.run("byId('order').value = 0, byId('order').onchange()")
        ordered = await tab.run("state.faces.map(own => state.amount.values[own])")
        await tab.run("byId('to-shelves').click()")
        seen = []
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "Escape"):
            await tab.run(KEY.format(key))
            seen.append(await tab.run("state.faces.indexOf(state.chosen)"))
        await tab.run("byId('to-map').click()")
        before = await tab.run("views.map.zoom")
        await tab.run(KEY.format("+"))
        return [groups, few, ordered, seen, await tab.run("views.map.zoom") > before]

    (groups, few, ordered, seen, zoomed), complaints, _ = opened(made[1], tmp_path, look)
    walk = made[0]
    sizes = np.bincount(walk.shelf.rows // 9)
    assert groups == sorted(sizes.tolist(), reverse=True) and few == max(groups)
    assert ordered == sorted(ordered, reverse=True) and len(ordered) == few
    assert seen == [0, 1, 0, -1] and zoomed and complaints == []
