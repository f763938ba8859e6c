"""The report: one file, nothing from outside, only the changed words marked, films that play."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sapien", reason="sapien is not installed (requirements/sim.txt)")
av = pytest.importorskip("av", reason="av is not installed (requirements/learn.txt)")

from paired_cases import outcome, ran

from finevla.errors import FineVLAError, SetupError
from finevla.sim.factors import IN_DISTRIBUTION, OOD
from finevla.stages import media
from finevla.stages.evaluate import film as filming
from finevla.stages.evaluate import measure
from finevla.stages.evaluate.film import GAP, HALF_SIZE, HOLD, film, small
from finevla.stages.evaluate.outcome import ProbeResult, RunResult
from finevla.stages.evaluate.page import marked, render_page
from finevla.stages.evaluate.paired import plan_pairs, summarize
from finevla.stages.evaluate.paired_verb import Config, main

TIMING = {
    "episodes": 4,
    "episodes_per_minute": 30.0,
    "time_share": {"physics": 0.5, "rendering": 0.3, "inference": 0.2},
}


def reel(value, length):
    return [np.full((HALF_SIZE[1], HALF_SIZE[0], 3), value, np.uint8) for _ in range(length)]


def decoded(payload):
    with av.open(io.BytesIO(payload)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def page(rows, names):
    result = summarize(rows, names)
    result["provenance"] = {"checkpoint_id": "expert<&>", "timing": TIMING, "replan_frames": 4}
    return render_page(result, rows)


def test_both_runs_stand_side_by_side_and_the_shorter_one_waits():
    payload, error = film([reel(40, 3), reel(200, 6)])
    frames = decoded(payload)
    assert not error
    assert len(frames) == 6 + HOLD
    width = HALF_SIZE[0]
    assert frames[0].shape == (HALF_SIZE[1], 2 * width + GAP, 3)
    for frame in frames:
        assert float(frame[:, :width].mean()) == pytest.approx(40, abs=4)
        assert float(frame[:, width + GAP :].mean()) == pytest.approx(200, abs=4)


def test_a_refused_side_is_grey_and_two_of_them_are_no_film():
    frames = decoded(film([[], reel(200, 2)])[0])
    assert float(frames[0][:, : HALF_SIZE[0]].mean()) == pytest.approx(72, abs=4)
    payload, error = film([[], []])
    assert payload == b""
    assert "refused" in error


def test_pictures_are_made_small():
    assert small(np.zeros((480, 640, 3), np.uint8)).shape == (HALF_SIZE[1], HALF_SIZE[0], 3)


def test_a_film_that_fails_is_told_and_costs_nothing(monkeypatch):
    def broken(*_):
        raise OSError("no space left")

    monkeypatch.setattr(filming, "encode_mp4", broken)
    payload, error = film([reel(1, 1), reel(2, 1)])
    assert payload == b""
    assert "no space left" in error
    (pair,) = plan_pairs(["arm"], [], 1, 1000)
    assert "no space left" in page([replace(outcome(pair), film_error=error)], ["arm"])


@pytest.mark.parametrize("factor", [*IN_DISTRIBUTION, OOD])
def test_only_the_changed_words_are_marked(factor):
    for pair in plan_pairs([factor], [], 10, 1000):
        for i in range(2):
            html = marked(pair.texts[i], pair.texts[1 - i])
            rest = re.sub(r"<mark>.*?</mark> ?", "", html).split()
            other = re.sub(r"<mark>.*?</mark> ?", "", marked(pair.texts[1 - i], pair.texts[i])).split()
            assert re.sub(r"</?mark>", "", html) == pair.texts[i]
            assert "<mark>" in html or "<mark>" in marked(pair.texts[1 - i], pair.texts[i])
            if factor != "order":
                assert rest == other, "what is not marked stands in both"
            assert len(rest) >= 3


def test_markup_in_sentences_is_text():
    assert marked("take <b>", "take it") == "take <mark>&lt;b&gt;</mark>"


def test_the_page_needs_nothing_from_outside():
    (pair,) = plan_pairs(["arm"], [], 1, 1000)
    payload, _ = film([reel(10, 2), reel(20, 2)])
    probe = ProbeResult("negated", "do not <x>", "refused", ran(pair.goals[0], pair.goals[0]))
    row = replace(outcome(pair, probes=[probe]), film=payload)
    html = page([row], ["arm"])
    assert not re.search(r"https?://|<script|<link|@import|url\(", html)
    assert "prefers-color-scheme:dark" in html
    assert "expert&lt;&amp;&gt;" in html
    assert "do not &lt;x&gt;" in html
    assert html.count("<mark>") == 2
    assert "at 4.0 times real speed" in html
    assert "100.0 <span class=dim>[20.7, 100.0] n=1</span>" in html
    (found,) = re.findall(r'src="data:video/mp4;base64,([^"]+)"', html)
    assert base64.b64decode(found) == payload


def test_a_refused_run_is_told_on_the_page():
    (pair,) = plan_pairs(["arm"], [], 1, 1000)
    runs = (ran(pair.goals[0], pair.goals[0]), RunResult.refusal(pair.goals[1], "does not know 'right'"))
    html = page([replace(outcome(pair), runs=runs, film_error="none")], ["arm"])
    assert "refused: does not know &#x27;right&#x27;" in html


@pytest.mark.parametrize("where", ["absent/report.html", "."])
def test_a_report_that_cannot_be_written_is_refused_before_anything_runs(tmp_path, where):
    out = tmp_path / "out.json"
    with pytest.raises(FineVLAError, match="--report"):
        main(Config(policy="expert", n=1, json=out, report=tmp_path / where))
    assert not list(tmp_path.iterdir())


def test_a_missing_encoder_is_named_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(media, "ENCODER", "no_such_encoder")
    with pytest.raises(SetupError, match="no_such_encoder"):
        main(Config(policy="expert", n=1, report=tmp_path / "a.html"))
    assert not list(tmp_path.iterdir())


def test_a_report_that_fails_at_the_end_keeps_what_was_measured(tmp_path, monkeypatch):
    ran_pairs: list[int] = []

    def fake(runner, jobs, workers):
        for job in jobs:
            ran_pairs.append(job.pair.number)
            yield outcome(job.pair)
        if ran_pairs == [0, 1] and not out.exists():
            report.mkdir()

    monkeypatch.setattr(measure, "outcomes_of", fake)
    out, report = tmp_path / "a.json", tmp_path / "a.html"
    config = Config(policy="expert", factors="arm", n=2, json=out, report=report, videos=0)
    with pytest.raises(FineVLAError, match="what was measured is kept"):
        main(config)
    assert out.exists()
    report.rmdir()
    assert main(config) == 0
    assert ran_pairs == [0, 1], "nothing is run twice"
    assert "Does it obey?" in report.read_text()


@pytest.mark.sim
def test_an_oracle_is_filmed(tmp_path):
    report = tmp_path / "a.html"
    config = Config("arm", n=2, policy="expert", workers=1, report=report, videos=1, task="pick_lift")
    assert main(config) == 0
    html = report.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["a.html"]
    (found,) = re.findall(r'src="data:video/mp4;base64,([^"]+)"', html)
    frames = decoded(base64.b64decode(found))
    assert len(frames) > HOLD + 3
    left, right = (
        frames[-1][:, part].astype(int) for part in (slice(HALF_SIZE[0]), slice(-HALF_SIZE[0], None))
    )
    assert np.abs(left - right).mean() > 1.0, "the two runs differ"
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 1.0, "and something moves"
