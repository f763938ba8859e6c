"""Table, film and page of the demonstration, from synthetic trials and frames."""

from __future__ import annotations

import html
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from finevla.contract.frame import NS_PER_S
from finevla.sim.goal import Goal
from finevla.stages.demo import film, page, run, table
from finevla.stages.demo.facts import Facts, median, summary
from finevla.stages.demo.film import Reel
from finevla.stages.demo.rows import (
    REPEAT_RULE,
    Row,
    Trial,
    Verdict,
    excuses,
    pairs,
    shortfalls,
    tally,
    verdict_words,
)
from finevla.stages.demo.run import Camera, write_products

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")


def row(index: int, arm: str, color: str, *, obeyed: bool = True, **changes: object) -> Row:
    goal = Goal("pick_lift", arm, color)
    trial = Trial(index, index // 2, "arm", 7, goal, f"use the {arm} arm <b> {color}", arm)
    verdict = Verdict(arm if obeyed else "", color if obeyed else "", obeyed, obeyed, obeyed)
    fields = {"ending": "finished", "reason_code": "settled", "reason": "", "seconds": 4.0}
    return Row(trial=trial, verdict=verdict, applied_s=0.1, latency_s=0.004, **{**fields, **changes})


def facts() -> Facts:
    return Facts(
        "ck", "demo", "hash0", 3, 70, "2026-01-01", {"python": "3"}, "m", 9.0, 0.004, 0.006, 0.1, 12, 0.98
    )


def jpeg(level: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((240, 320, 3), level, np.uint8)).save(out, "JPEG")
    return out.getvalue()


def reel(seconds: float = 1.0) -> Reel:
    made = Reel(CAMERAS)
    for k in range(round(seconds * 30)):
        for camera in CAMERAS:
            made.add(camera, NS_PER_S + k * NS_PER_S // 30, jpeg(8 * k % 256))
    return made


def test_counts_and_floor() -> None:
    rows = [row(0, "left", "red"), row(1, "right", "red", obeyed=False), row(2, "left", "red")]
    assert (tally(rows).n, tally(rows).arm, tally(rows).done) == (3, 2, 2)
    assert shortfalls(rows, 0.6) == []
    assert [text.split(":")[0] for text in shortfalls(rows, 0.75)] == ["arm", "color"]
    assert shortfalls([], 0.0) == ["no instruction was issued"]
    assert [len(group) for group in pairs(rows)] == [2, 1]


def test_what_the_machine_spoiled_is_said() -> None:
    fine = row(0, "left", "red", real_time_factor=0.98)
    late = row(1, "left", "red", reason_code="joints_stale", real_time_factor=0.5)
    assert excuses([fine]) == []
    lines = excuses([fine, late, late])
    assert lines[0] == "joints_stale: ended 2 of 3 instructions"
    assert "0.50 of real time" in lines[1]


@pytest.mark.parametrize(
    ("factors", "repeats", "attempts", "kept"),
    [((0.95,), 2, 1, True), ((0.5, 0.99), 2, 2, True), ((0.5, 0.4, 0.3), 2, 3, False), ((0.5,), 0, 1, False)],
)
def test_only_a_machine_that_lags_earns_another_try(monkeypatch, factors, repeats, attempts, kept) -> None:
    queue = list(factors)
    done = row(0, "left", "red", obeyed=False)
    monkeypatch.setattr(
        run, "run_trial", lambda *_: (replace(done, early_real_time_factor=queue.pop(0)), reel(0.1))
    )
    last, _ = run.run_valid_trial(None, done.trial, 1.0, None, repeats)
    assert (last.attempts, last.kept_real_time, queue) == (attempts, kept, [])
    assert last.ended == ("settled" if attempts == 1 else f"settled, try {attempts}")
    assert (REPEAT_RULE in html.unescape(page.render([last], facts(), None, {}))) == (attempts > 1)
    assert last.first.early_real_time_factor == factors[0]


@pytest.mark.parametrize("seconds", [0.2, 3.0, 30.0])
@pytest.mark.parametrize("obeyed", [True, False])
def test_neither_length_nor_outcome_nor_later_lag_earns_another_try(monkeypatch, seconds, obeyed) -> None:
    done = row(0, "left", "red", obeyed=obeyed, seconds=seconds, real_time_factor=0.1)
    tries = [replace(done, early_real_time_factor=0.9), None]
    monkeypatch.setattr(run, "run_trial", lambda *_: (tries.pop(0), reel(0.1)))
    assert run.run_valid_trial(None, done.trial, 1.0, None, 2)[0].attempts == 1


def test_first_tries_are_counted_beside_the_ones_that_count() -> None:
    missed = row(0, "left", "red", obeyed=False, early_real_time_factor=0.5)
    rows = [replace(row(0, "left", "red"), attempts=2, first_try=missed), row(1, "right", "red")]
    document = json.loads(json.dumps(summary(rows, facts(), 0.75)))
    assert (document["arm_compliance"], document["first_try"]["arm_compliance"]) == (1.0, 0.5)
    assert (document["first_try"]["done"], document["repeated"]) == (0.5, 1)
    assert document["rows"][0]["first_try"]["verdict"]["arm_complied"] is False
    assert "The first tries alone: arm obeyed 1 / 2" in page.render(rows, facts(), None, {})
    out = io.StringIO()
    table.show(rows, Console(file=out, width=160))
    assert "first tries alone: arm obeyed 1/2" in out.getvalue()
    assert f"tries repeated: 1; {REPEAT_RULE}" in out.getvalue()


def test_verdict_in_words() -> None:
    assert verdict_words(row(0, "left", "red")) == "left arm moved, red cube lifted: complied, done"
    assert "no arm moved, nothing lifted: did not comply" in verdict_words(
        row(0, "left", "red", obeyed=False)
    )
    other = row(0, "left", "")
    seen = {"arm": "left", "side": ""}
    verdict = replace(other.verdict, observed=seen, complied={"arm": True, "side": False})
    words = verdict_words(replace(other, verdict=verdict))
    assert words == "arm left, side none: did not comply, done"
    rejected = row(0, "left", "red", obeyed=False, ending="rejected", reason_code="unknown_word")
    assert verdict_words(rejected) == "rejected: unknown_word"


def test_table_shows_what_was_asked_and_done() -> None:
    out = io.StringIO()
    table.show([row(0, "left", "red"), row(1, "right", "red", obeyed=False)], Console(file=out, width=160))
    text = out.getvalue()
    assert "use the left arm <b> red" in text
    assert "arm obeyed 1/2, color obeyed 1/2, done 1/2" in text
    assert re.search(r"right arm <b> red .*none .*none .*no .*no .*settled", text)


def test_reel_keeps_about_the_rate_of_the_film_and_finds_frames_by_time() -> None:
    made = reel()
    assert 14 <= len(made.stamps["cam_high"]) <= 16
    first, last = made.span_ns()
    assert made.at("cam_high", first - 5) == made.jpegs["cam_high"][0]
    assert made.at("cam_high", last + 5) == made.jpegs["cam_high"][-1]
    assert made.at("cam_high", first + 1) == made.jpegs["cam_high"][0]
    assert Reel(CAMERAS).at("cam_high", 0) is None
    assert Reel(CAMERAS).span_ns() == (0, 0)


def test_caption_strip_says_the_verdict_in_its_colour() -> None:
    scene = film.Scene(reel(), "1 of 2", "use the left arm", "complied", good=True)
    plain = np.asarray(film.compose(scene, NS_PER_S, show_verdict=False))
    judged = np.asarray(film.compose(scene, NS_PER_S, show_verdict=True))
    assert plain.shape == (film.CANVAS_SIZE[1], film.CANVAS_SIZE[0], 3)
    changed = np.argwhere((plain != judged).any(axis=2))
    assert changed[:, 0].min() >= film.MAIN_SIZE[1]
    greens = judged[film.MAIN_SIZE[1] :].astype(int)
    assert (greens[..., 1] - greens[..., 0]).max() > 80


def test_film_is_h264_that_browsers_play(tmp_path) -> None:
    av = pytest.importorskip("av")
    scene = film.Scene(reel(), "1 of 1", "use the left arm", "complied", good=True)
    path = tmp_path / "a.mp4"
    count = film.write_mp4(
        path, film.frames([scene, film.Scene(Reel(CAMERAS), "", "", "", good=False)], hold_s=0.5)
    )
    assert count == 10 + 5
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == film.CANVAS_SIZE
        assert sum(1 for _ in container.decode(stream)) == count
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_no_frames_no_file(tmp_path) -> None:
    assert film.write_mp4(tmp_path / "a.mp4", film.frames([])) == 0
    assert not (tmp_path / "a.mp4").exists()


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        if tag not in {"meta", "img", "br", "link"}:
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def test_page_is_one_file_without_addresses_or_scripts() -> None:
    rows = [row(0, "left", "red"), row(1, "right", "red", obeyed=False)]
    text = page.render(rows, facts(), b"film", {0: [jpeg(1), jpeg(2)]})
    parser = Page()
    parser.feed(text)
    assert parser.open == []
    assert "script" not in parser.tags
    assert len(parser.sources) == 3
    assert all(source.startswith("data:") for source in parser.sources)
    assert "http" not in text
    assert "<b> red" not in text, "text of instructions is escaped"
    for fact in ("hash0", "1 / 2", "4.0 ms", "2 instructions are a demonstration"):
        assert fact in text


def test_only_the_changed_word_is_marked() -> None:
    assert page.highlight("use the left arm, left of it", "left") == (
        "use the <mark>left</mark> arm, <mark>left</mark> of it"
    )
    assert "<mark>" not in page.highlight("the leftmost", "left")


def test_a_page_without_film_says_so() -> None:
    assert "No camera frame arrived" in page.render([row(0, "left", "red")], facts(), None, {})


def test_products_and_summary(tmp_path) -> None:
    rows = [row(0, "left", "red"), row(1, "right", "red", obeyed=False)]
    products = write_products(tmp_path, rows, [reel(), reel()], facts(), 0.75)
    assert products.film is not None
    assert products.report.stat().st_size > products.film.stat().st_size
    document = json.loads(products.summary.read_text())
    assert document == json.loads(json.dumps(summary(rows, facts(), 0.75)))
    assert (document["n"], document["arm_compliance"]) == (2, 0.5)
    assert [r["complied"] for r in document["rows"]] == [True, False]
    trial = document["rows"][0]["trial"]
    assert (trial["task"], trial["arm"], trial["color"]) == ("pick_lift", "left", "red")


def test_camera_keeps_frames_of_a_running_trial_only() -> None:
    camera = Camera(CAMERAS)
    camera.sink("cam_high", 1, b"before")
    camera.start()
    camera.sink("cam_high", 2, b"during")
    made = camera.stop()
    camera.sink("cam_high", 3, b"after")
    assert made.jpegs == {"cam_high": [b"during"]}
    assert camera.stop().jpegs == {}


@pytest.mark.parametrize(
    ("values", "middle"), [([], 0.0), ([3.0], 3.0), ([4.0, 1.0], 2.5), ([9.0, 1.0, 2.0], 2.0)]
)
def test_median(values, middle) -> None:
    assert median(values) == middle
