"""A page in headless Chromium, driven by the DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome")
NO_BROWSER = "no Chromium found: install Debian's or Ubuntu's package `chromium`"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--remote-debugging-port=0"),
)


class Page:
    """One tab; every call waits for its answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: aiohttp.ClientWebSocketResponse):
        self._loop = loop
        self._socket = socket
        self._ids = itertools.count(1)

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        return self._loop.run_until_complete(asyncio.wait_for(self._command(method, params), 120))

    async def _command(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited, an exception raised."""
        reply = self.command(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    def open(self, url: str) -> None:
        self.command("Page.navigate", url=url)

    def wait_for(self, script: str, timeout: float = 60) -> None:
        """Until the expression is true."""
        deadline = time.monotonic() + timeout
        while not self.evaluate(f"Boolean({script})"):
            assert time.monotonic() < deadline, f"still false after {timeout} s: {script}"
            time.sleep(0.2)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot")["data"]))


@contextmanager
def open_browser(profile: Path, width: int, height: int) -> Iterator[Page]:
    """A blank page of a new browser, which keeps its files in `profile`; skips without Chromium."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(NO_BROWSER)
    flags = [*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={profile}"]
    loop = asyncio.new_event_loop()
    with (profile / "chromium.log").open("wb") as log:
        process = subprocess.Popen([program, *flags], stdout=log, stderr=log)
    try:
        session, socket = loop.run_until_complete(connect(debugging_port(profile)))
        page = Page(loop, socket)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        page.command("Emulation.setDeviceMetricsOverride", **size)
        yield page
        loop.run_until_complete(session.close())
    finally:
        process.terminate()
        process.wait(20)
        loop.close()


def debugging_port(profile: Path) -> int:
    """The port that Chromium chose, which it writes into its profile."""
    file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = file.read_text().split() if file.is_file() else []
        if lines:
            return int(lines[0])
        time.sleep(0.1)
    pytest.fail(f"Chromium did not start: {(profile / 'chromium.log').read_text()[-2000:]}")


async def connect(port: int) -> tuple[aiohttp.ClientSession, Any]:
    import aiohttp  # one of ComfyUI's requirements, so not there without one

    session = aiohttp.ClientSession()
    async with session.get(f"http://127.0.0.1:{port}/json/list") as reply:
        pages = [target for target in json.loads(await reply.text()) if target["type"] == "page"]
    socket = await session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0)
    return session, socket
