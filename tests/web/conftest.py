"""A headless Chromium, driven over its DevTools protocol: no more than the tests of the pages need."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import subprocess
import time

import pytest

aiohttp = pytest.importorskip("aiohttp")
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


class Tab:
    """One page. `logs` holds its errors, `requests` every address that it asked for."""

    def __init__(self, socket_) -> None:
        self.socket = socket_
        self.logs: list[str] = []
        self.requests: list[str] = []
        self._number = 0

    async def call(self, method: str, **parameters):
        self._number += 1
        await self.socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            answer = await self.socket.receive_json(timeout=20)
            self._note(answer)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _note(self, answer) -> None:
        parameters = answer.get("params", {})
        if answer.get("method") == "Runtime.exceptionThrown":
            self.logs.append(str(parameters["exceptionDetails"]))
        if answer.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.logs.append(parameters["entry"]["text"])
        if answer.get("method") == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])

    async def open(self, url: str) -> None:
        for domain in ("Runtime", "Log", "Network", "Page"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def run(self, script: str):
        answer = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, script: str, seconds: float = 10.0):
        deadline = time.monotonic() + seconds
        while not (value := await self.run(script)):
            assert time.monotonic() < deadline, f"waited in vain for {script}"
            await asyncio.sleep(0.05)
        return value

    async def screenshot(self) -> bytes:
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """The DevTools address of a running browser."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    profile = tmp_path_factory.mktemp("chromium")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=1280,900",
        "--remote-debugging-port=0",
    ]
    process = subprocess.Popen(
        [program, *flags, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # the program may be a script around the browser: both must end
    )
    port_file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + 30
    while not (port_file.exists() and port_file.read_text().count("\n")):
        assert process.poll() is None, "the browser ended by itself"
        assert time.monotonic() < deadline, "the browser did not start"
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port_file.read_text().splitlines()[0]}"
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(20)


@pytest.fixture
def browse(chromium):
    """Runs `await scenario(tab)` in a fresh tab; call it inside a running event loop."""

    async def in_tab(scenario) -> None:
        async with aiohttp.ClientSession() as session:
            async with session.put(f"{chromium}/json/new?about:blank") as reply:
                page = await reply.json()
            async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket_:
                tab = Tab(socket_)
                try:
                    await scenario(tab)
                finally:
                    async with session.get(f"{chromium}/json/close/{page['id']}"):
                        pass

    return in_tab
