"""Lifecycle services of other nodes as blocking calls, for a thread that does not spin."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from finevla_system.bringup_plan import NodeState

TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}
REACHED = {
    "configure": NodeState.INACTIVE,
    "activate": NodeState.ACTIVE,
    "deactivate": NodeState.INACTIVE,
    "cleanup": NodeState.UNCONFIGURED,
}
STATE_TIMEOUT_S = 2.0
WAIT_STEP_S = 0.1
ABSENCE_S = 1.0
"""A service that is not seen for this long is not there."""


class LifecyclePort:
    """Implements `bringup_plan.Port` with rclpy clients; another thread must spin the node.

    Args:
        node: Node that owns the clients.
        nodes: Names of the lifecycle nodes.
        group: Callback group of the clients.
        transition_timeout_s: Longest time of one transition.
        reason: Says what a node told about its newest trouble.
    """

    def __init__(
        self,
        node: Node,
        nodes: Sequence[str],
        group: CallbackGroup,
        transition_timeout_s: float,
        reason: Callable[[str], str],
    ) -> None:
        self._node = node
        self._group = group
        self._transition_timeout_s = transition_timeout_s
        self._reason = reason
        self._clients = {name: self._create_clients(name) for name in nodes}
        self.stopping = threading.Event()
        """Set to make all waiting end at once."""

    @property
    def ending(self) -> bool:
        """Whether this process ends."""
        return self.stopping.is_set() or not self._node.context.ok()

    def wait_for(self, node: str, timeout_s: float) -> bool:
        """Waits until both lifecycle services of a node are there."""
        return self._appears(self._clients[node], timeout_s)

    def state(self, node: str) -> NodeState:
        """Asks a node for its state; a transition in progress counts as lost for the moment."""
        answer = self.call(self._clients[node][1], GetState.Request(), STATE_TIMEOUT_S)
        label = answer.current_state.label if answer is not None else ""
        return NodeState(label) if label in set(NodeState) else NodeState.LOST

    def change(self, node: str, transition: str) -> bool:
        """Makes a transition; false where the node refuses or does not answer in time."""
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[transition]))
        self._node.get_logger().info(f"{node}: {transition}")
        answer = self.call(self._clients[node][0], request, self._transition_timeout_s)
        if answer is None:
            # An answer can be lost while discovery is under way; what counts is where the node is.
            return self.state(node) is REACHED[transition]
        return bool(answer.success)

    def reason(self, node: str) -> str:
        """What the node told about its newest trouble."""
        return self._reason(node)

    def pause(self, seconds: float) -> None:
        """Waits, unless the process ends."""
        self.stopping.wait(seconds)

    def now_s(self) -> float:
        """Monotonic time."""
        return time.monotonic()

    def call(self, client: Any, request: Any, timeout_s: float) -> Any | None:
        """Calls a service; None where there is none or no answer comes in time.

        A service may look absent for a moment while discovery is under way (an old process of the
        same name just left, say), so its absence counts only when it lasts.
        """
        if not self._appears([client], min(timeout_s, ABSENCE_S)):
            return None
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        end_s = self.now_s() + timeout_s
        while not done.wait(WAIT_STEP_S):
            if self.now_s() > end_s or self.ending:
                client.remove_pending_request(future)
                return None
        return future.result()

    def _create_clients(self, node: str) -> tuple[Any, Any]:
        create = self._node.create_client
        return (
            create(ChangeState, f"/{node}/change_state", callback_group=self._group),
            create(GetState, f"/{node}/get_state", callback_group=self._group),
        )

    def _appears(self, clients: Sequence[Any], timeout_s: float) -> bool:
        """Waits until the services of all these clients are there."""
        end_s = self.now_s() + timeout_s
        while not all(self._is_ready(client) for client in clients):
            if self.now_s() > end_s or self.ending or self.stopping.wait(WAIT_STEP_S):
                return False
        return True

    def _is_ready(self, client: Any) -> bool:
        """Whether a service is there; false as soon as this process ends."""
        try:
            return not self.ending and bool(client.service_is_ready())
        except RuntimeError:  # rclpy's RCLError: SIGINT invalidates the context under our feet
            if self.ending:
                return False
            raise
