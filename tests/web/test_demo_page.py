"""The report of the demonstration in a real browser: film plays, pictures load, nothing is fetched."""

from __future__ import annotations

import asyncio
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from finevla.contract.frame import NS_PER_S
from finevla.stages.demo.facts import Facts
from finevla.stages.demo.film import Reel
from finevla.stages.demo.plan import plan
from finevla.stages.demo.rows import Row, Verdict
from finevla.stages.demo.run import write_products

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")


def reel(color: str) -> Reel:
    made = Reel(CAMERAS)
    for k in range(10):
        image = Image.fromarray(np.full((240, 320, 3), 180, np.uint8))
        ImageDraw.Draw(image).rectangle((120, 100 - 5 * k, 150, 130 - 5 * k), fill=color)
        out = io.BytesIO()
        image.save(out, "JPEG")
        for camera in CAMERAS:
            made.add(camera, NS_PER_S + k * NS_PER_S // 10, out.getvalue())
    return made


def save(folder: str, shot: bytes) -> None:
    Path(folder, "report.png").write_bytes(shot)


def test_report_shows_everything_without_a_network(browse, tmp_path: Path) -> None:
    trials = plan(8, 3)
    rows = [
        Row(t, Verdict(t.arm, t.color, True, i != 5, True), "finished", "settled", "", 4.2 + i, 0.1, 0.004)
        for i, t in enumerate(trials)
    ]
    facts = Facts(
        "ck", "demo", "0" * 64, 3, 70, "2026-01-01", {"python": "3.12"}, "m", 9.0, 0.004, 0.006, 0.1, 12, 0.98
    )
    products = write_products(tmp_path, rows, [reel(t.color) for t in trials], facts, 0.75)

    async def scenario(tab):
        await tab.open(products.report.as_uri())
        assert await tab.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert await tab.run("document.images.length") == 32
        assert await tab.run("document.querySelectorAll('tbody tr').length") == 8
        assert await tab.run("document.body.scrollWidth <= innerWidth")
        await tab.run("document.querySelector('video').load()")
        await tab.until("document.querySelector('video').readyState >= 1")
        assert await tab.run("document.querySelector('video').duration") > 8
        if folder := os.environ.get("FINEVLA_SCREENSHOTS"):
            save(folder, await tab.screenshot())
        assert tab.logs == []
        assert all(address.startswith(("data:", "file:")) for address in tab.requests)

    asyncio.run(browse(scenario))
