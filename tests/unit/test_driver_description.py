"""Which arms a joint state speaks of."""

from __future__ import annotations

from cobotmagic_driver.description import Listener

from finevla.contract import ARM_SIDES


def test_an_arm_counts_until_it_was_not_heard_for_too_long():
    listener = Listener(fresh_s=0.2)
    assert listener.fresh(0.0) == {}
    listener.note("right", "first", 10.0)
    listener.note("right", "second", 10.1)
    assert listener.fresh(10.25) == {"right": "second"}
    assert listener.fresh(10.5) == {}
    listener.note("right", "third", 11.0)
    assert listener.fresh(11.0) == {"right": "third"}


def test_the_order_is_the_contract_s_whoever_spoke_first():
    listener = Listener(fresh_s=0.2)
    for side in reversed(ARM_SIDES):
        listener.note(side, side, 1.0)
    assert tuple(listener.fresh(1.0)) == ARM_SIDES
