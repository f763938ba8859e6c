"""Messages to arrays and back: the same bytes, the same order, or a named error."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("finevla_msgs.msg")
convert = pytest.importorskip("finevla_perception.convert")

from finevla_msgs.msg import DriverState, InstructionStatus, ParsedInstruction
from sensor_msgs.msg import Image, JointState

from finevla.bag.images import encode_jpeg
from finevla.contract import load_contract
from finevla.contract.instruction import parse
from finevla.errors import ContractError

pytestmark = pytest.mark.ros
STAMP_NS = 1_700_000_000_123_456_789


def picture():
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (12, 16, 3), np.uint8)


def test_stamps_keep_every_nanosecond():
    assert convert.stamp_to_ns(convert.ns_to_stamp(STAMP_NS)) == STAMP_NS


def test_raw_images_come_back_unchanged_also_with_padded_rows_and_bgr():
    image = picture()
    msg = convert.msgify_image(image, STAMP_NS, "frame")
    assert np.array_equal(convert.numpify(msg), image)
    assert (msg.header.frame_id, msg.step) == ("frame", 48)
    padded = np.zeros((12, 64), np.uint8)
    padded[:, :48] = image[..., ::-1].reshape(12, 48)
    bgr = Image(height=12, width=16, encoding="bgr8", step=64, data=convert.as_bytes(padded))
    assert np.array_equal(convert.numpify(bgr), image)


def test_jpeg_decodes_as_in_the_converter():
    from finevla.bag.events import EncodedImage
    from finevla.bag.images import decode

    smooth = np.broadcast_to(np.arange(16, dtype=np.uint8)[None, :, None] * 10, (12, 16, 3))
    jpeg = encode_jpeg(smooth)
    live = convert.numpify(convert.msgify_jpeg(jpeg, STAMP_NS, "frame"))
    offline = decode(EncodedImage("jpeg", jpeg, 12, 16, 48))
    assert np.array_equal(live, offline)
    assert np.abs(live.astype(int) - smooth).max() < 12


@pytest.mark.parametrize(
    "msg",
    [
        Image(height=2, width=2, encoding="mono8", step=2, data=[0] * 4),
        Image(height=2, width=2, encoding="rgb8", step=6, data=[0] * 11),
        convert.msgify_jpeg(b"\xff\xd8 not a picture", 0, ""),
    ],
)
def test_a_broken_image_is_an_error_that_names_its_topic(msg):
    with pytest.raises(ContractError, match="/camera_f"):
        convert.numpify(msg, "/camera_f")


def test_joints_are_ordered_by_name():
    names = load_contract().arms["left"].wire_names
    msg = convert.msgify_joints(names[::-1], np.arange(7.0)[::-1], STAMP_NS)
    assert np.array_equal(convert.joint_values(msg, names), np.arange(7.0))
    with pytest.raises(ContractError, match="missing"):
        convert.joint_values(JointState(name=names[:6], position=[0.0] * 6), names, "/puppet")


def test_parsed_instruction_keeps_text_values_and_unknown_words():
    msg = convert.msgify_parsed(parse("Zap the red cube with the left arm"), "id1", STAMP_NS)
    assert (msg.id, msg.text, msg.unknown_words) == ("id1", "Zap the red cube with the left arm", ["zap"])
    assert msg.level == ParsedInstruction.LEVEL_FINE
    values = {(value.dimension, value.slot): value.value for value in msg.values}
    assert values["active_actor", "actor"] == "left_arm"


def test_names_of_constants():
    assert convert.name_of(DriverState, DriverState.HOLD) == "HOLD"
    assert convert.name_of(InstructionStatus, 99) == "UNKNOWN"
