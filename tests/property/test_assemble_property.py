"""Whatever the streams do: frames are in order, made of what was sent, and independent of arrival."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from finevla.contract import ARM_SIDES, load_contract
from finevla.contract.assemble import Frame, FrameAssembler
from finevla.contract.clock import JointTrack

CONTRACT = load_contract()
MS = 1_000_000
STREAMS = (*CONTRACT.cameras, *ARM_SIDES)
LIMIT_MS = 250

Event = tuple[int, str]


@st.composite
def recordings(draw: st.DrawFn) -> list[Event]:
    """Events (stamp in ms, stream) of 2 s, every stream with its own rate, phase, jitter and holes."""
    events: list[Event] = []
    for stream in STREAMS:
        period = draw(st.sampled_from([33, 50, 100] if stream in CONTRACT.cameras else [5, 10, 20]))
        phase = draw(st.integers(0, period - 1))
        hole, width = draw(st.integers(0, 2000)), draw(st.sampled_from([0, 60, 400]))
        jitter = np.random.default_rng(draw(st.integers(0, 1000))).integers(0, max(period // 4, 1), 500)
        stamps = [phase + i * period + int(jitter[i]) for i in range(2000 // period)]
        events += [(t, stream) for t in stamps if not hole <= t < hole + width]
    return sorted(events)


def frames_of(
    events: list[Event], origin_ms: int | None = None
) -> tuple[list[Frame[int]], FrameAssembler[int]]:
    assembler: FrameAssembler[int] = FrameAssembler(CONTRACT, patience_s=LIMIT_MS / 1000)
    if origin_ms is not None:
        assembler.anchor(origin_ms * MS)
    frames = []
    for t, stream in events:
        if stream in ARM_SIDES:
            assembler.push_joints(stream, t * MS, np.full(7, float(t)))
        else:
            assembler.push_image(stream, t * MS, t)
        while (frame := assembler.pop()) is not None:
            frames.append(frame)
    assembler.close()
    while (frame := assembler.pop()) is not None:
        frames.append(frame)
    return frames, assembler


@settings(max_examples=60, deadline=None)
@given(recordings())
def test_frames_are_in_order_and_nothing_is_invented(events: list[Event]) -> None:
    frames, assembler = frames_of(events)
    sent = {stream: {t for t, s in events if s == stream} for stream in STREAMS}
    stamps = [frame.stamp_ns // MS for frame in frames]
    assert all(a < b for a, b in itertools.pairwise(stamps))
    for frame in frames:
        stamp = frame.stamp_ns // MS
        assert stamp in sent["cam_high"]
        for camera, image in frame.images.items():
            assert image in sent[camera]
            nearest = min(abs(t - stamp) for t in sent[camera])
            assert abs(image - stamp) == nearest <= CONTRACT.sync.slop_s * 1000
        # The value of a joint is the time of its sample, so interpolation must give the stamp back.
        np.testing.assert_allclose(frame.state, stamp, atol=1e-6)
    pivots = len(sent["cam_high"])
    assert len(frames) + assembler.surplus + sum(assembler.dropped.values()) == pivots


@settings(max_examples=60, deadline=None)
@given(recordings(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_between_streams_does_not_matter(events: list[Event], random: object) -> None:
    delay = {stream: random.randint(0, LIMIT_MS - 1) for stream in STREAMS}  # type: ignore[attr-defined]
    late = sorted(events, key=lambda event: (event[0] + delay[event[1]], event[1]))
    here, first = frames_of(events)
    there, second = frames_of(late)
    assert [(f.stamp_ns, dict(f.images)) for f in here] == [(f.stamp_ns, dict(f.images)) for f in there]
    assert all(np.array_equal(a.state, b.state) for a, b in zip(here, there, strict=True))
    assert (first.dropped, first.surplus) == (second.dropped, second.surplus)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 900), st.integers(0, 32), st.integers(0, 3), st.integers(0, 1000))
def test_whoever_begins_later_makes_the_same_frames_from_then_on(
    begin: int, phase: int, jitter: int, seed: int
) -> None:
    """A recording begins, a policy is activated later: both know the origin, an image of the pivot camera."""
    noise = np.random.default_rng(seed).integers(-jitter, jitter + 1, 60)
    images = [phase + round(k * 100 / 3) + int(noise[k]) + 10 for k in range(60)]
    events = sorted([(t, c) for t in images for c in CONTRACT.cameras] + every_5_ms(2000))
    origin = images[1]
    recorded, _ = frames_of(events, origin)
    live, _ = frames_of([event for event in events if event[0] >= begin], origin)
    both = live[0].stamp_ns
    assert live[0].stamp_ns - begin * MS <= 150 * MS
    assert [f.stamp_ns for f in live] == [f.stamp_ns for f in recorded if f.stamp_ns >= both]


def every_5_ms(end: int) -> list[Event]:
    return [(t, side) for t in range(0, end, 5) for side in ARM_SIDES]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=40, unique=True).map(sorted),
    st.integers(0, 400),
    st.integers(1, 100),
)
def test_a_track_answers_only_between_neighbours_within_the_gap(stamps: list[int], at: int, gap: int) -> None:
    track = JointTrack(gap)
    for stamp in stamps:
        assert track.push(stamp, np.full(7, float(stamp)))
    before = max((t for t in stamps if t <= at), default=None)
    after = min((t for t in stamps if t >= at), default=None)
    allowed = before is not None and after is not None and (after - before <= gap)
    value = track.at(at)
    assert (value is not None) == allowed
    if value is not None:
        np.testing.assert_allclose(value, at, atol=1e-9)
