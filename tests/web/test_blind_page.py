"""The page of the blind rating in a real browser: answers are counted, kept and saved; nothing is fetched."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from finevla.contract.frame import NS_PER_S
from finevla.stages.demo.film import Reel
from finevla.stages.evaluate.blind.answers import join, read_answers
from finevla.stages.evaluate.blind.key import Ended, Key, new_key
from finevla.stages.evaluate.blind.page import PAGE_NAME, items, render
from finevla.stages.evaluate.blind.session import _write_video
from finevla.stages.evaluate.plan import plan_pairs

ROWS = ("arm", "order")
FIRST_OF_EACH = """
for (const field of document.querySelectorAll("fieldset")) field.querySelector("input").click();
"""
KEEP_WHAT_IS_SAVED = """
URL.createObjectURL = blob => { blob.text().then(text => window.saved = text); return "#"; };
HTMLAnchorElement.prototype.click = () => {};
"""


def reel() -> Reel:
    made = Reel(("cam_high",))
    for k in range(10):
        out = io.BytesIO()
        Image.fromarray(np.full((240, 320, 3), 20 * k, np.uint8)).save(out, "JPEG")
        made.add("cam_high", NS_PER_S + k * NS_PER_S // 10, out.getvalue())
    return made


def prepared(folder: Path) -> Key:
    key = new_key(plan_pairs(ROWS, (), 1, 1000), ROWS, {}, Random(3))
    for run in key.runs:
        key = key.after(run, Ended("finished", "settled", 1.0))
        _write_video(folder / f"{run.name}.mp4", reel(), "cam_high")
    (folder / PAGE_NAME).write_text(render(items(key), key.seal), "utf-8")
    return key


def test_answers_are_counted_kept_and_saved(browse, tmp_path: Path) -> None:
    key = prepared(tmp_path)

    async def scenario(tab):
        address = (tmp_path / PAGE_NAME).as_uri()
        await tab.open(address)
        await tab.run("document.querySelector('video').load()")
        await tab.until("document.querySelector('video').readyState >= 1")
        count = "document.getElementById('count').textContent"
        assert await tab.run(count) == "0 of 4 videos answered"
        await tab.run(FIRST_OF_EACH)
        assert await tab.run(count) == "4 of 4 videos answered"
        assert await tab.run("document.body.scrollWidth <= innerWidth")
        await tab.open(address)
        await tab.until(f"{count} === '4 of 4 videos answered'")
        await tab.run(KEEP_WHAT_IS_SAVED)
        await tab.run("document.getElementById('save').click()")
        saved = await tab.until("window.saved")
        assert len(join(key, read_answers(saved, key, "page"), 0.1)) == 2
        assert json.loads(saved)["seal"] == key.seal
        assert tab.logs == []
        assert all(address.startswith(("data:", "file:")) for address in tab.requests)

    asyncio.run(browse(scenario))
