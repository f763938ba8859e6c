"""What an operator can ask of the driver, as services."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import numpy as np
from finevla_msgs.srv import SelectSource
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from cobotmagic_driver.loop import Answer, DriverLoop
from finevla.contract import services

OPERATION_TIMEOUT_S = 60.0
NOT_ACTIVE = (False, "the driver is not active")
NOT_CONNECTED = (False, "the driver is not connected to the arms")


class OperatorServices:
    """Enable, hold, home, park, stop, reset and hand-over.

    Args:
        node: Serves.
        loop: Gives the loop, or None where the driver is not connected.
        listen_to: Is called with the name of a source before it is selected.
        parking_pose: Where the arms are parked, shape (14,), rad and m.
        confirm_s: Time for the second call of a reset.
    """

    def __init__(
        self,
        node: Node,
        loop: Callable[[], DriverLoop | None],
        listen_to: Callable[[str], None],
        parking_pose: NDArray[np.float64],
        confirm_s: float,
    ) -> None:
        self._loop, self._listen_to = loop, listen_to
        self._parking_pose, self._confirm_s = parking_pose, confirm_s
        self._reset_until_s = 0.0
        slow, quick = MutuallyExclusiveCallbackGroup(), MutuallyExclusiveCallbackGroup()
        make = node.create_service
        make(SetBool, services.DRIVER_ENABLE, self._on_enable, callback_group=slow)
        make(Trigger, services.DRIVER_HOME, self._on_home, callback_group=slow)
        make(Trigger, services.DRIVER_PARK, self._on_park, callback_group=slow)
        make(Trigger, services.DRIVER_STOP, self._on_stop, callback_group=quick)
        make(Trigger, services.DRIVER_RESET_STOP, self._on_reset, callback_group=quick)
        make(SelectSource, services.DRIVER_SELECT_SOURCE, self._on_select, callback_group=quick)

    def _running(self) -> DriverLoop | None:
        loop = self._loop()
        return loop if loop is not None and loop.running else None

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        loop = self._running()
        if loop is None:
            return _answered(response, NOT_ACTIVE)
        if not request.data:
            loop.hold()
            text = "the arms hold; the motors stay on, because switching them off lets the arms fall"
            return _answered(response, (True, text))
        return _answered(response, wait_for(loop.enable()))

    def _on_home(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        loop = self._running()
        return _answered(response, NOT_ACTIVE if loop is None else wait_for(loop.home()))

    def _on_park(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        loop = self._running()
        return _answered(response, NOT_ACTIVE if loop is None else wait_for(loop.park(self._parking_pose)))

    def _on_stop(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        loop = self._loop()
        refusal = NOT_CONNECTED[1] if loop is None else loop.stop()
        return _answered(response, (not refusal, refusal or "both arms are stopped"))

    def _on_reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        now, loop = time.monotonic(), self._loop()
        if loop is None:
            return _answered(response, NOT_CONNECTED)
        if now > self._reset_until_s:
            self._reset_until_s = now + self._confirm_s
            text = (
                "THE ARMS WILL FALL: a reset takes the power from the motors. Support both arms, then call "
                f"this service again within {self._confirm_s:g} s"
            )
            return _answered(response, (False, text))
        self._reset_until_s = 0.0
        refusal = loop.reset()
        return _answered(response, (not refusal, refusal or "reset; the motors are off, call enable"))

    def _on_select(
        self, request: SelectSource.Request, response: SelectSource.Response
    ) -> SelectSource.Response:
        loop = self._loop()
        self._listen_to(request.source)
        refusal = NOT_CONNECTED[1] if loop is None else loop.select_source(request.source)
        text = f"the arms listen to {request.source} and hold; go on as after any hold"
        return _answered(response, (not refusal, refusal or text))


def wait_for(future: Future[Answer]) -> Answer:
    """The answer to a wish that takes time."""
    try:
        return future.result(OPERATION_TIMEOUT_S)
    except FutureTimeoutError:
        return (False, f"no answer within {OPERATION_TIMEOUT_S:g} s")


def _answered(response: Any, answer: Answer) -> Any:
    response.success, response.message = answer
    return response
