"""Frames out of streams: matching, interpolation, decimation, and what is dropped for which reason."""

import numpy as np
import pytest

from finevla.contract import ARM_SIDES, RobotContract, load_contract
from finevla.contract.assemble import FrameAssembler
from finevla.contract.robot import contract_from_document
from finevla.errors import ContractError

CONTRACT = load_contract()
MS = 1_000_000
T0 = 10_000 * MS


def run(
    cameras: dict[str, list[float]],
    sides: dict[str, list[float]],
    close: bool = True,
    contract: RobotContract = CONTRACT,
    origin_ms: float | None = None,
) -> tuple[list, FrameAssembler]:
    """Feeds stamps in ms in the order of time; a payload is its own stamp, a joint value is its time in s."""
    assembler: FrameAssembler[float] = FrameAssembler(contract)
    if origin_ms is not None:
        assembler.anchor(T0 + round(origin_ms * MS))
    events = [(t, "image", c) for c, stamps in cameras.items() for t in stamps]
    events += [(t, "joints", s) for s, stamps in sides.items() for t in stamps]
    frames = []
    for t, kind, stream in sorted(events):
        if kind == "image":
            assembler.push_image(stream, T0 + round(t * MS), t)
        else:
            assembler.push_joints(stream, T0 + round(t * MS), np.full(7, t / 1000))
        while (frame := assembler.pop()) is not None:
            frames.append(frame)
    if close:
        assembler.close()
        while (frame := assembler.pop()) is not None:
            frames.append(frame)
    return frames, assembler


def every(step: float, end: float, start: float = 0.0) -> list[float]:
    return list(np.arange(start, end + 1e-6, step))


def cams(stamps: list[float], **other: list[float]) -> dict[str, list[float]]:
    return {name: other.get(name, stamps) for name in CONTRACT.cameras}


def arms(stamps: list[float], **other: list[float]) -> dict[str, list[float]]:
    return {side: other.get(side, stamps) for side in ARM_SIDES}


def test_frames_have_the_pivots_stamp_and_joints_interpolated_at_it() -> None:
    frames, assembler = run(cams([102.0, 202.0]), arms(every(5, 300)))
    assert [(f.stamp_ns - T0) / MS for f in frames] == [102.0, 202.0]
    np.testing.assert_allclose(frames[0].state, np.full(14, 0.102), atol=1e-12)
    assert not assembler.dropped


def test_a_joint_sample_exactly_at_the_pivot_is_taken_as_it_is() -> None:
    frames, _ = run(cams([100.0]), arms([0.0, 100.0, 200.0]))
    # 0 and 200 ms lie farther away than the gap; only the exact sample can serve.
    assert frames[0].state[0] == 0.1


def test_30_hz_cameras_give_10_hz_frames_from_the_first_complete_image() -> None:
    frames, assembler = run(cams(every(1000 / 30, 1000)), arms(every(5, 1100, start=40)))
    stamps = [(f.stamp_ns - T0) / MS for f in frames]
    assert stamps[0] == pytest.approx(66.667, abs=0.001)
    np.testing.assert_allclose(np.diff(stamps), 100.0, atol=0.01)
    assert assembler.dropped == {"joint_gap:left": 2}
    assert assembler.surplus > 0


def test_a_jittery_30_hz_camera_keeps_to_the_grid() -> None:
    jitter = np.random.default_rng(0).uniform(-8, 8, 300)
    frames, _ = run(cams(list(np.arange(300) * 1000 / 30 + 20 + jitter)), arms(every(5, 10100)))
    stamps = np.array([(f.stamp_ns - T0) / MS for f in frames])
    offset = (stamps - stamps[0]) - np.round((stamps - stamps[0]) / 100) * 100
    assert len(frames) in (99, 100)
    assert np.abs(offset).max() < 35


def test_after_a_pause_of_the_pivot_no_burst_makes_up_for_the_missed_ticks() -> None:
    pivot = [t for t in every(1000 / 30, 1500) if not 300 < t < 850]
    frames, _ = run(cams(pivot), arms(every(5, 1600)))
    stamps = [round((f.stamp_ns - T0) / MS) for f in frames]
    assert stamps[:4] == [0, 100, 200, 300]
    assert stamps[4] == 867
    assert np.diff(stamps[5:]).min() == 100


def test_the_nearest_image_within_the_slop_is_chosen() -> None:
    wrist = [80.0, 115.0, 180.0, 229.0]
    frames, _ = run(cams([100.0, 200.0], cam_left_wrist=wrist), arms(every(5, 300)))
    assert [f.images["cam_left_wrist"] for f in frames] == [115.0, 180.0]


def test_a_camera_without_an_image_within_the_slop_drops_the_frame_with_its_name() -> None:
    frames, assembler = run(cams([100.0, 200.0], cam_right_wrist=[60.0, 205.0]), arms(every(5, 300)))
    assert [f.stamp_ns - T0 for f in frames] == [200 * MS]
    assert assembler.dropped == {"no_image:cam_right_wrist": 1}


def test_a_gap_in_the_joints_is_never_bridged() -> None:
    gap = [t for t in every(5, 300) if not 80 < t < 140]
    frames, assembler = run(cams([100.0, 200.0]), arms(every(5, 300), right=gap))
    assert [f.stamp_ns - T0 for f in frames] == [200 * MS]
    assert assembler.dropped == {"joint_gap:right": 1}


def test_a_dead_stream_is_given_up_by_data_and_not_by_a_clock() -> None:
    stamps = every(100, 1000)
    _, assembler = run(cams(stamps, cam_left_wrist=[0.0, 100.0]), arms(every(5, 1100)), close=False)
    assert assembler.dropped["no_image:cam_left_wrist"] >= 6
    assert assembler.newest_ns("cam_left_wrist") == T0 + 100 * MS
    ages = assembler.ages_ns(T0 + 1100 * MS)
    assert ages["cam_left_wrist"] == 1000 * MS
    assert ages["cam_high"] == 100 * MS


def test_ages_are_none_before_the_first_message() -> None:
    assert set(FrameAssembler(CONTRACT).ages_ns(5).values()) == {None}


def test_stamps_that_do_not_grow_are_refused_and_counted() -> None:
    assembler: FrameAssembler[int] = FrameAssembler(CONTRACT)
    assembler.push_image("cam_high", T0, 1)
    assembler.push_image("cam_high", T0, 2)
    assembler.push_joints("left", T0, np.zeros(7))
    assembler.push_joints("left", T0 - 1, np.zeros(7))
    assert assembler.dropped == {"stamp_not_later:cam_high": 1, "stamp_not_later:left": 1}


def test_reset_forgets_data_and_grid() -> None:
    _, assembler = run(cams([100.0]), arms(every(5, 300)))
    assembler.reset()
    assert set(assembler.ages_ns(0).values()) == {None}
    assembler.push_image("cam_high", 5, 0.0)  # an earlier time is accepted again
    assert assembler.newest_ns("cam_high") == 5


def test_memory_stays_bounded_when_the_pivot_is_silent() -> None:
    assembler: FrameAssembler[int] = FrameAssembler(CONTRACT)
    for tick in range(4000):
        for side in ARM_SIDES:
            assembler.push_joints(side, T0 + tick * 5 * MS, np.zeros(7))
        if tick % 20 == 0:
            assembler.push_image("cam_left_wrist", T0 + tick * 5 * MS, tick)
    assert len(assembler._images["cam_left_wrist"]) < 10
    assert len(assembler._tracks["left"]._stamps) < 100


def test_memory_stays_bounded_when_all_cameras_are_silent() -> None:
    assembler: FrameAssembler[int] = FrameAssembler(CONTRACT)
    for tick in range(2000):
        assembler.push_joints("left", T0 + tick * 5 * MS, np.zeros(7))
    assert len(assembler._tracks["left"]._stamps) < 100


def test_the_pivot_cannot_be_left_out() -> None:
    with pytest.raises(ContractError, match="cam_high"):
        FrameAssembler(CONTRACT, cameras=["cam_left_wrist"])
    assert FrameAssembler(CONTRACT, cameras=["cam_high"]).streams == ("cam_high", *ARM_SIDES)


def test_an_image_younger_than_its_frame_may_lag_as_much_as_any() -> None:
    """It was given up early by as much as it was younger: its frame was lost when its camera lagged."""
    assembler: FrameAssembler[float] = FrameAssembler(CONTRACT)
    pivot, young, lag = 100.0, 129.0, 249.0
    last = next(name for name in CONTRACT.cameras if name != CONTRACT.sync.pivot)
    events = [(pivot, name, pivot) for name in CONTRACT.cameras if name != last]
    events += [(t, side, t) for side in ARM_SIDES for t in every(5, 500)]
    events.append((young + lag, last, young))
    frames = []
    for _, stream, t in sorted(events):
        if stream in ARM_SIDES:
            assembler.push_joints(stream, T0 + round(t * MS), np.full(7, t / 1000))
        else:
            assembler.push_image(stream, T0 + round(t * MS), t)
        while (frame := assembler.pop()) is not None:
            frames.append(frame)
    assert [frame.images[last] for frame in frames] == [young]


def stamps(frames: list) -> list[float]:
    return [round((frame.stamp_ns - T0) / MS, 1) for frame in frames]


def test_who_begins_in_the_middle_makes_the_frames_of_a_recording_whose_origin_he_knows() -> None:
    period = 1000 / 30
    for begin in range(12):
        images = every(period, 1500, start=begin * period)
        anchored, _ = run(cams(images), arms(every(5, 1510)), origin_ms=0.0)
        assert stamps(anchored) == [t for t in np.arange(0, 1510, 100) if t >= begin * period - 1e-6]
    alone, _ = run(cams(every(period, 1500, start=period)), arms(every(5, 1510)))
    assert stamps(alone)[0] == 33.3, "without an origin frames are counted from the first one"


def test_ticks_before_the_origin_count_too() -> None:
    frames, _ = run(cams(every(1000 / 30, 1000)), arms(every(5, 1010)), origin_ms=600.0)
    assert stamps(frames) == list(range(0, 1001, 100))


def test_frames_tell_how_far_their_images_are_from_them() -> None:
    frames, _ = run(cams([100.0, 200.0], cam_left_wrist=[97.0, 212.0]), arms(every(5, 300)))
    assert [frame.skews_ns["cam_left_wrist"] / MS for frame in frames] == [-3.0, 12.0]
    assert frames[0].skews_ns["cam_high"] == 0


def with_choice(choice: str) -> RobotContract:
    document = {**CONTRACT.document, "sync": {**CONTRACT.document["sync"], "choice": choice}}
    return contract_from_document(document)


def test_the_first_after_is_taken_where_the_contract_says_so() -> None:
    """cobot_magic's collect_data.py: of each queue the first message not before the time of the frame."""
    cameras = cams([100.0, 200.0, 300.0], cam_left_wrist=[99.0, 120.0, 200.0, 299.0, 331.0])
    frames, assembler = run(cameras, arms(every(7, 400)), contract=with_choice("first_after"))
    assert stamps(frames) == [100.0, 200.0]
    assert [frame.images["cam_left_wrist"] for frame in frames] == [120.0, 200.0]
    np.testing.assert_allclose([frame.state[0] for frame in frames], [0.105, 0.203])
    assert assembler.dropped == {"no_image:cam_left_wrist": 1}, "the first after is 31 ms late: slop is 30"
    gone = [t for t in every(5, 400) if not 195 < t < 260]
    frames, assembler = run(cams([100.0, 200.0]), arms(gone), contract=with_choice("first_after"))
    assert stamps(frames) == [100.0]
    assert assembler.dropped == {"joint_gap:left": 1}


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ContractError, match="nearest or first_after"):
        with_choice("newest")
    assert with_choice("first_after").hash != CONTRACT.hash
