"""What an arm says of itself against the contract, and whether its CAN interface can carry it."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess

import pytest
from cobotmagic_driver.can_link import require_link
from cobotmagic_driver.startup import ArmFacts, mismatches, require, version_of

from finevla.contract import load_contract
from finevla.errors import DriverError

CONTRACT = load_contract()
ARM = CONTRACT.arms["left"]
JOINTS = ARM.joints[:-1]
GOOD = ArmFacts(
    firmware="S-V1.8-2",
    lower=tuple(joint.lower for joint in JOINTS),
    upper=tuple(joint.upper for joint in JOINTS),
    speed=tuple(joint.velocity for joint in JOINTS),
    stroke_m=0.07,
)


def change(values: tuple[float, ...], place: int, by: float) -> tuple[float, ...]:
    return tuple(value + by * (k == place) for k, value in enumerate(values))


def test_the_arm_of_the_contract_passes():
    assert mismatches(ARM, 1, GOOD) == []
    assert require(ARM, 1, GOOD, ()) == ()


def test_limits_that_were_rounded_to_tenths_of_a_degree_are_no_mismatch():
    low, high = (
        tuple(math.radians(round(math.degrees(v) * 10) / 10) for v in side)
        for side in (GOOD.lower, GOOD.upper)
    )
    assert mismatches(ARM, 1, dataclasses.replace(GOOD, lower=low, upper=high)) == []


@pytest.mark.parametrize(
    ("facts", "check", "words"),
    [
        ({"firmware": ""}, "firmware", "no answer"),
        ({"firmware": "garbage"}, "firmware", "garbage"),
        ({"firmware": "S-V1.4-9"}, "firmware", "S-V1.4-9"),
        ({"firmware": "S-V1.6-2"}, "zero", "dh_is_offset 0"),
        ({"lower": change(GOOD.lower, 2, 0.2)}, "limits", "left_joint3"),
        ({"upper": change(GOOD.upper, 4, -0.2)}, "limits", "left_joint5"),
        ({"lower": ()}, "limits", "no answer"),
        ({"speed": change(GOOD.speed, 0, -1.0)}, "speed", "left_joint1"),
        ({"stroke_m": None}, "stroke", "no answer"),
        ({"stroke_m": 0.0}, "stroke", "not configured"),
        ({"stroke_m": 0.05}, "stroke", "50 mm"),
    ],
)
def test_an_arm_that_differs_is_refused_unless_that_is_accepted(facts, check, words):
    other = dataclasses.replace(GOOD, **facts)
    (found,) = mismatches(ARM, 1, other)
    assert found.check == check
    with pytest.raises(DriverError) as refused:
        require(ARM, 1, other, ())
    assert words in str(refused.value)
    assert f"accept_mismatch:={check}" in str(refused.value)
    assert require(ARM, 1, other, {check}) == (found,)


def test_older_firmware_has_the_older_zero():
    assert mismatches(ARM, 0, dataclasses.replace(GOOD, firmware="S-V1.6-2")) == []
    assert mismatches(ARM, 0, GOOD)[0].check == "zero"
    assert version_of("S-V1.8-2") == (1, 8, 2)


def test_a_gripper_of_100_mm_is_more_than_the_contract_uses():
    assert mismatches(ARM, 1, dataclasses.replace(GOOD, stroke_m=0.1)) == []


def link(flags=("UP",), kind="can", bitrate=1_000_000, state="ERROR-ACTIVE") -> str:
    data = {"state": state, "bittiming": {"bitrate": bitrate}}
    return json.dumps([{"flags": list(flags), "linkinfo": {"info_kind": kind, "info_data": data}}])


def test_an_interface_that_is_up_at_one_megabit_passes():
    asked = []
    require_link("can_left", lambda command: asked.append(command) or link())
    assert asked == [["ip", "-details", "-json", "link", "show", "can_left"]]
    require_link("can_left", lambda _: link(kind="vcan", bitrate=None))


@pytest.mark.parametrize(
    ("answer", "found", "remedy"),
    [
        (link(flags=()), "down", "up type can bitrate 1000000"),
        (link(bitrate=500_000), "500000", "down && sudo ip link set can_left up"),
        (link(state="BUS-OFF"), "bus-off", "termination"),
        (link(kind="dummy"), "kind dummy", "up type can"),
        ("[]", "no such interface", "plug the adapter in"),
        ("not json", "no such interface", "plug the adapter in"),
    ],
)
def test_an_interface_that_cannot_carry_an_arm_is_named_with_the_command_that_mends_it(answer, found, remedy):
    with pytest.raises(DriverError) as refused:
        require_link("can_left", lambda _: answer)
    assert found in str(refused.value)
    assert remedy in str(refused.value)


def test_a_missing_interface_is_named():
    def runner(command):
        raise subprocess.CalledProcessError(1, command)

    with pytest.raises(DriverError, match="can_left"):
        require_link("can_left", runner)
