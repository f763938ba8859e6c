"""The dashboard over HTTP on loopback: what it shows, what it does, and whom it refuses."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading

import pytest

aiohttp = pytest.importorskip("aiohttp")
web = pytest.importorskip("finevla_system.dashboard_web")


class Robot:
    """Remembers what it was told; `home` takes until it is released."""

    cameras = ("cam_high", "</script><b>")

    def __init__(self) -> None:
        self.done: list[tuple[str, dict]] = []
        self.frames = {"cam_high": (1, b"jpeg-bytes")}
        self.home = threading.Event()

    def snapshot(self):
        return {"policy": {"fields": {"state": "idle"}, "tone": "good"}}

    def frame(self, camera):
        return self.frames.get(camera)

    def act(self, command, arguments):
        if command == "home":
            self.home.wait(10)
        self.done.append((command, arguments))
        return command != "enable", f"{command} seen"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def visit(scenario, robot: Robot | None = None):
    """Serves a robot and runs `scenario(session, url, robot)` against it."""
    robot = robot or Robot()

    async def run():
        port = free_port()
        runner = await web.serve(web.Dashboard(robot, port, token="secret"), port)
        try:
            async with aiohttp.ClientSession() as session:
                await scenario(session, f"http://127.0.0.1:{port}", robot)
        finally:
            robot.home.set()
            await runner.cleanup()

    asyncio.run(run())
    return robot


TOKEN = {web.TOKEN_HEADER: "secret"}


def test_page_is_self_contained_and_locked_down() -> None:
    async def scenario(session, url, _):
        async with session.get(url) as reply:
            text, policy = await reply.text(), reply.headers["Content-Security-Policy"]
            nonce = re.search(r"script-src 'nonce-([^']+)'", policy).group(1)
            assert text.count(f'nonce="{nonce}"') == 2
            assert "frame-ancestors 'none'" in policy
            assert "{{" not in text
            assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", text)
            assert "</script><b>" not in text, "a name cannot end the script"
            assert '"token": "secret"' in text
        async with session.get(url) as again:
            assert nonce not in await again.text(), "a nonce is used once"

    visit(scenario)


@pytest.mark.parametrize("command", web.COMMANDS)
def test_commands_reach_the_robot(command: str) -> None:
    async def scenario(session, url, robot):
        robot.home.set()
        body = json.dumps({"text": "lift"})
        async with session.post(f"{url}/api/{command}", data=body, headers={**TOKEN, "Origin": url}) as reply:
            assert reply.status == 200
            answer = {"success": command != "enable", "message": f"{command} seen"}
            assert await reply.json() == answer

    assert visit(scenario).done == [(command, {"text": "lift"})]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({web.TOKEN_HEADER: "guess"}, 403),
        ({**TOKEN, "Origin": "http://evil.example"}, 403),
        ({**TOKEN, "Origin": "null"}, 403),
        ({**TOKEN, "Host": "evil.example"}, 403),
        ({**TOKEN, "Host": "127.0.0.1:1"}, 403),
        ({**TOKEN, "Sec-Fetch-Site": "cross-site"}, 403),
        ({**TOKEN, "Sec-Fetch-Site": "same-site"}, 403),
        (TOKEN, 200),
    ],
)
def test_foreign_pages_and_rebound_names_cannot_command(headers: dict[str, str], status: int) -> None:
    async def scenario(session, url, _):
        async with session.post(f"{url}/api/stop", headers=headers) as reply:
            assert reply.status == status

    assert bool(visit(scenario).done) == (status == 200)


def test_the_token_cannot_be_read_under_a_foreign_name() -> None:
    async def scenario(session, url, _):
        for headers in ({"Host": "evil.example:80"}, {"Origin": "http://evil.example"}):
            async with session.get(url, headers=headers) as reply:
                assert reply.status == 403
                assert "secret" not in await reply.text()
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(f"{url}/api/live", headers={"Origin": "http://evil.example"})

    visit(scenario)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("stop", "{", 400),
        ("stop", "[1]", 400),
        ("dance", "{}", 404),
        ("stop", '{"a":"' + "x" * 20000 + '"}', 413),
    ],
)
def test_bad_requests_are_refused(path: str, body: str, status: int) -> None:
    async def scenario(session, url, _):
        async with session.post(f"{url}/api/{path}", data=body, headers=TOKEN) as reply:
            assert reply.status == status

    assert visit(scenario).done == []


def test_live_sends_snapshots_and_each_frame_once() -> None:
    async def scenario(session, url, robot):
        async with session.ws_connect(f"{url}/api/live", headers={"Origin": url}) as socket_:
            assert json.loads((await socket_.receive()).data) == robot.snapshot()
            assert (await socket_.receive()).data == b"\x00jpeg-bytes"
            assert json.loads((await socket_.receive()).data) == robot.snapshot()
            robot.frames["cam_high"] = (2, b"next")
            received = [(await socket_.receive()).data for _ in range(2)]
            assert b"\x00next" in received

    visit(scenario)


def test_stop_does_not_wait_behind_slow_commands() -> None:
    async def scenario(session, url, robot):
        slow = [asyncio.create_task(session.post(f"{url}/api/home", headers=TOKEN)) for _ in range(40)]
        await asyncio.sleep(0.2)
        async with asyncio.timeout(3), session.post(f"{url}/api/stop", headers=TOKEN) as reply:
            assert reply.status == 200
        assert robot.done == [("stop", {})]
        robot.home.set()
        await asyncio.gather(*slow)

    visit(scenario)


def test_the_port_is_open_on_loopback_only() -> None:
    async def scenario(_, url, __):
        port = int(url.rsplit(":", 1)[1])
        with socket.socket() as probe:
            probe.settimeout(1)
            with pytest.raises(OSError):
                probe.connect(("127.0.0.2", port))

    visit(scenario)
