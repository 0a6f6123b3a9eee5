"""A page in headless Chromium, over its DevTools protocol: what a reader would meet.

No driver is needed: the protocol is JSON over a websocket, which tornado speaks.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tornado.websocket import WebSocketClientConnection, websocket_connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--remote-debugging-port=0",
)  # fmt: skip
STARTS_WITHIN = 60.0  # seconds; a busy machine is not a failure
KEYS = {"Tab": 9, "Enter": 13}
MOST_BYTES = 64 << 20  # of a message: a screenshot is one

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


class Tab:
    """One page: commands go out, what the page says and asks for is noted."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.socket = socket
        self.numbers = itertools.count(1)
        self.complaints: list[str] = []  # of the console, and exceptions
        self.requests: list[str] = []
        self.loaded = False
        self.stands_for: Mapping[str, Path] = {}  # {beginning of an address: folder}

    async def send(self, method: str, **params: Any) -> Any:
        """The result of a command."""
        number = next(self.numbers)
        await self.socket.write_message(
            json.dumps({"id": number, "method": method, "params": params})
        )
        while (message := await self._message()).get("id") != number:
            pass
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        return message["result"]

    async def run(self, expression: str) -> Any:
        """The value of a JavaScript expression on the page."""
        done = await self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in done:
            raise RuntimeError(str(done["exceptionDetails"]))
        return done["result"].get("value")

    async def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            code = {"Tab": 9, "Enter": 13}[key]
            await self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code
            )

    async def open(self, page: Path | str, *, width: int, dark: bool) -> None:
        """Loads a file, or an address of `serve`, at this width in CSS pixels."""
        address = page if isinstance(page, str) else page.resolve().as_uri()
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=800, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.complaints, self.requests, self.loaded = [], [], False
        await self.send("Page.navigate", url=address)
        while not self.loaded:
            await self._message()

    async def serve(self, folders: Mapping[str, Path]) -> None:
        """From now on files of `folders`, {beginning of an address: folder}, are what the network
        gives, and it gives nothing else."""
        self.stands_for = folders
        await self.send("Fetch.enable", patterns=[{"urlPattern": "http*"}])

    async def _answer(self, request: str, address: str) -> None:
        """To a request that waits for it; what the browser says to that is not waited for."""
        plain = address.partition("?")[0]
        found = [
            folder / plain.removeprefix(start)
            for start, folder in self.stands_for.items()
            if plain.startswith(start)
        ]
        answer: dict[str, Any] = {"requestId": request, "errorReason": "AddressUnreachable"}
        if found and found[0].is_file():
            header = {"name": "Access-Control-Allow-Origin", "value": "*"}
            body = base64.b64encode(found[0].read_bytes()).decode()
            answer = {"requestId": request, "responseCode": 200, "responseHeaders": [header]}
            answer["body"] = body
        method = "Fetch.fulfillRequest" if "body" in answer else "Fetch.failRequest"
        command = {"id": next(self.numbers), "method": method, "params": answer}
        await self.socket.write_message(json.dumps(command))

    async def close(self) -> None:
        self.socket.close()
        while await self.socket.read_message() is not None:  # until the other end has gone too
            pass

    async def _message(self) -> dict[str, Any]:
        raw = await asyncio.wait_for(self.socket.read_message(), STARTS_WITHIN)
        if raw is None:
            raise RuntimeError("the browser has gone")
        message: dict[str, Any] = json.loads(raw)
        self._note(message.get("method", ""), message.get("params", {}))
        if message.get("method") == "Fetch.requestPaused":
            asked = message["params"]
            await self._answer(asked["requestId"], asked["request"]["url"])
        return message

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.complaints.append(json.dumps(params))


def visit(folder: Path, look: Callable[[Tab], Awaitable[Any]]) -> Any:
    """What `look` finds in a fresh browser whose profile lies in `folder`."""
    assert CHROMIUM is not None
    profile = folder / "profile"
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            return asyncio.run(_look(profile / "DevToolsActivePort", look))
        finally:
            process.terminate()


async def _look(port_file: Path, look: Callable[[Tab], Awaitable[Any]]) -> Any:
    async def started() -> str:
        while not port_file.exists() or port_file.read_text().count("\n") < 1:
            await asyncio.sleep(0.05)
        port, path = port_file.read_text().splitlines()[:2]
        return f"127.0.0.1:{port}{path}"

    address = await asyncio.wait_for(started(), STARTS_WITHIN)
    browser = Tab(await _connect(f"ws://{address}"))
    target = (await browser.send("Target.getTargets"))["targetInfos"]
    (page,) = [own["targetId"] for own in target if own["type"] == "page"]
    host = address.partition("/")[0]
    tab = Tab(await _connect(f"ws://{host}/devtools/page/{page}"))
    try:
        return await look(tab)
    finally:
        await tab.close()
        await browser.close()


async def _connect(address: str) -> WebSocketClientConnection:
    return await websocket_connect(address, max_message_size=MOST_BYTES)
