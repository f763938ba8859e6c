"""A client of the running ROS graph: home, new scene, one sentence, verdict.

Used by the demonstration and by the paired evaluation through the graph. It has no privilege that an
operator lacks: sentences go out on the instruction topic, everything else is a plain service.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any, Self

from finevla.contract import RobotContract, services
from finevla.contract.frame import NS_PER_S
from finevla.errors import SetupError
from finevla.stages.demo.graph_types import Ending, FrameSink, GraphError, PolicyFigures
from finevla.stages.demo.raw_image import jpeg_of
from finevla.stages.demo.readiness import Seen, lacking
from finevla.stages.demo.rows import PACE_WINDOW_S, Verdict

__all__ = ["Ending", "FrameSink", "GraphClient", "GraphError", "PolicyFigures"]

REAL_TIME_KEY = "real_time_factor"
FAULT_NEWS_S = 1.0


def _stamp_ns(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec * NS_PER_S + stamp.nanosec)


class GraphClient:
    """Talks to one graph in its own context, with its own thread for callbacks.

    Args:
        contract: Names topics and cameras.
        domain_id: ROS domain of the graph; None: the environment's.
        on_frame: Called on the client's thread with camera, stamp (ns) and JPEG of every frame.
        monotonic: Seconds of a clock that never jumps.

    Raises:
        SetupError: rclpy or the messages are missing.
    """

    def __init__(
        self,
        contract: RobotContract,
        *,
        domain_id: int | None = None,
        on_frame: FrameSink | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._contract = contract
        self._monotonic = monotonic
        self._on_frame = on_frame
        self._news = threading.Condition()
        self._statuses: dict[str, list[tuple[float, Any]]] = {}
        self._policy: Any = None
        self._driver: Any = None
        self._frames_seen: dict[str, int] = {}
        self._raw: dict[str, Any] = {}
        self._factors: list[tuple[float, float]] = []
        self._published = 0.0
        self._open(domain_id)

    def _open(self, domain_id: int | None) -> None:
        try:
            import rclpy
            from finevla_msgs import msg, srv
            from rclpy.context import Context
            from rclpy.executors import SingleThreadedExecutor
            from std_srvs.srv import SetBool, Trigger
        except ImportError as err:
            raise SetupError(
                "ROS 2 or FineVLA's messages cannot be imported",
                found=err,
                remedy="run `make setup`, then `. scripts/env.sh` in this shell",
            ) from err
        self._msg = msg
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self._node = rclpy.create_node(f"finevla_client_{uuid.uuid4().hex[:8]}", context=self._context)
        kinds = {
            services.DRIVER_ENABLE: SetBool,
            services.DRIVER_HOME: Trigger,
            services.POLICY_CANCEL: Trigger,
            services.SIM_RESET_SCENE: srv.ResetScene,
            services.SIM_SCORE_SCENE: srv.ScoreScene,
        }
        self._clients = {name: self._node.create_client(kind, name) for name, kind in kinds.items()}
        self._kinds = kinds
        self._connect_topics()
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="finevla_client", daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        from rclpy.executors import ExternalShutdownException

        try:
            while not self._ended.is_set():
                self._executor.spin_once(timeout_sec=0.1)
        except ExternalShutdownException:
            return

    def _connect_topics(self) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
        from sensor_msgs.msg import CompressedImage

        topics, node, msg = self._contract.topics, self._node, self._msg
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._say = node.create_publisher(msg.Instruction, topics.instruction, latched)
        node.create_subscription(DiagnosticArray, services.DIAGNOSTICS, self._take_diagnostics, 10)
        node.create_subscription(msg.InstructionStatus, topics.instruction_status, self._take_status, 50)
        node.create_subscription(msg.PolicyStatus, topics.policy_status, self._take_policy, latched)
        node.create_subscription(msg.DriverState, topics.driver_state, self._take_driver, latched)
        for camera in self._contract.cameras.values():
            node.create_subscription(
                CompressedImage,
                camera.compressed_topic,
                lambda message, name=camera.name: self._take_frame(name, message),
                qos_profile_sensor_data,
            )

    def _take_diagnostics(self, message: Any) -> None:
        values = [
            float(pair.value)
            for status in message.status
            if status.name.startswith(services.SIM_NODE)
            for pair in status.values
            if pair.key == REAL_TIME_KEY
        ]
        with self._news:
            self._factors += [(self._monotonic(), value) for value in values]

    def take_real_time_factor(self) -> float | None:
        """Lowest real-time factor of the simulator since the last call; None where it told none."""
        with self._news:
            factors, self._factors = self._factors, []
        return min((value for _, value in factors), default=None)

    def early_real_time_factor(self) -> float | None:
        """Mean real-time factor of the simulator told within `PACE_WINDOW_S` of the last sentence.

        Waits until that time is over, so that a short trial is judged as a long one is. None where the
        simulator told none.
        """
        end = self._published + PACE_WINDOW_S
        with self._news:
            self._news.wait_for(lambda: self._monotonic() >= end, max(0.0, end - self._monotonic()))
            early = [value for at, value in self._factors if self._published <= at <= end]
        return sum(early) / len(early) if early else None

    def _take_status(self, message: Any) -> None:
        with self._news:
            self._statuses.setdefault(message.id, []).append((self._monotonic(), message))
            self._news.notify_all()

    def _take_policy(self, message: Any) -> None:
        with self._news:
            self._policy = message
            self._news.notify_all()

    def _take_driver(self, message: Any) -> None:
        with self._news:
            self._driver = message
            self._news.notify_all()

    def _take_frame(self, camera: str, message: Any) -> None:
        self._count_frame(camera)
        if self._on_frame is not None:
            self._on_frame(camera, _stamp_ns(message), bytes(message.data))

    def _count_frame(self, camera: str) -> None:
        with self._news:
            self._frames_seen[camera] = self._frames_seen.get(camera, 0) + 1
            self._news.notify_all()

    def take_raw(self, camera: str) -> bool:
        """Listens to a camera's raw pictures where somebody publishes those and nobody the JPEGs.

        Returns:
            Whether it listens to them, from this call on or an earlier one.
        """
        if camera in self._raw:
            return True
        spec = self._contract.cameras[camera]
        if self._node.count_publishers(spec.compressed_topic) or not self._node.count_publishers(
            spec.raw_topic
        ):
            return False
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import Image

        self._raw[camera] = self._node.create_subscription(
            Image,
            spec.raw_topic,
            lambda message: self._take_raw_frame(camera, message),
            qos_profile_sensor_data,
        )
        return True

    def _take_raw_frame(self, camera: str, message: Any) -> None:
        self._count_frame(camera)
        if self._on_frame is not None:
            shape = (message.height, message.width)
            picture = jpeg_of(bytes(message.data), *shape, message.step, message.encoding)
            self._on_frame(camera, _stamp_ns(message), picture)

    def awaited(self, *, simulated: bool = True, cameras: Collection[str] | None = None) -> dict[str, str]:
        """What the graph still lacks before an instruction can run: node name -> what is awaited of it.

        Args:
            simulated: Whether a simulator must be there.
            cameras: Those that must send pictures; all when None.
        """
        with self._news:
            driver, policy, seen = self._driver, self._policy, set(self._frames_seen)
        states = self._msg.DriverState
        wanted = tuple(self._contract.cameras) if cameras is None else cameras
        return lacking(
            Seen(
                scene=self.simulated(),
                silent_cameras=tuple(name for name in wanted if name not in seen),
                driver=driver is not None and self._ready(services.DRIVER_ENABLE, services.DRIVER_HOME),
                driver_ready=driver is not None
                and driver.state not in (states.DISCONNECTED, states.STOPPED, states.FAULT),
                driver_reason=driver.reason if driver is not None else "",
                policy=policy is not None,
                policy_ready=policy is not None
                and policy.state in (self._msg.PolicyStatus.IDLE, self._msg.PolicyStatus.HOLDING),
                policy_reason=policy.reason if policy is not None else "",
                instruction=bool(self._say.get_subscription_count()),
                simulated=simulated,
            )
        )

    def simulated(self) -> bool:
        """Whether a simulator offers its services in the graph."""
        return self._ready(services.SIM_RESET_SCENE, services.SIM_SCORE_SCENE)

    def holding(self) -> tuple[bool, str]:
        """Whether the motors hold torque and may be moved, and what the driver says of it."""
        with self._news:
            driver = self._driver
        if driver is None:
            return False, "the driver has not been heard"
        states = self._msg.DriverState
        return driver.state in (states.ENABLED, states.ACTIVE, states.HOLD), driver.reason

    def _ready(self, *names: str) -> bool:
        return all(self._clients[name].service_is_ready() for name in names)

    def policy_figures(self) -> PolicyFigures:
        """The newest figures of the policy node."""
        with self._news:
            message = self._policy
        if message is None:
            return PolicyFigures()
        return PolicyFigures(message.checkpoint_id, message.chunks, message.latency_s, message.latency_p95_s)

    def _call(self, name: str, request: Any, timeout_s: float) -> Any:
        response = self._ask(name, request, timeout_s)
        if not response.success:
            raise GraphError(
                "a service of the graph refused",
                where=name,
                found=response.message,
                remedy="do what the message says, then try again",
            )
        return response

    def _ask(self, name: str, request: Any, timeout_s: float) -> Any:
        done = threading.Event()
        future = self._clients[name].call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(timeout_s):
            self._clients[name].remove_pending_request(future)
            raise GraphError(
                "a service of the graph did not answer",
                where=name,
                expected=f"an answer within {timeout_s:g} s",
                remedy="look at the log of the node that offers it",
            )
        return future.result()

    def enable(self, timeout_s: float = 20.0) -> None:
        """Lets the motors hold torque.

        Raises:
            GraphError: The driver refuses or is silent.
        """
        self._call(services.DRIVER_ENABLE, self._kinds[services.DRIVER_ENABLE].Request(data=True), timeout_s)

    def home(self, timeout_s: float = 60.0, tries: int = 3) -> None:
        """Opens the grippers and sends both arms home; returns when they are there.

        A driver in FAULT is enabled first, as an operator would; a simulator on a busy machine causes some.
        Not for a real robot: there, `home_once` leaves enabling to the operator.
        """
        for left in reversed(range(tries)):
            if self._faulty(0.0):
                self.enable()
            try:
                self.home_once(timeout_s)
                return
            except GraphError:
                if not left or not self._faulty(FAULT_NEWS_S):
                    raise

    def home_once(self, timeout_s: float = 60.0) -> None:
        """The same without enabling anything.

        Raises:
            GraphError: The driver refuses or is silent.
        """
        self._call(services.DRIVER_HOME, self._kinds[services.DRIVER_HOME].Request(), timeout_s)

    def _faulty(self, patience_s: float) -> bool:
        """Whether the driver is in FAULT, or says so within some time."""
        with self._news:
            return self._news.wait_for(
                lambda: self._driver is not None and self._driver.state == self._msg.DriverState.FAULT,
                patience_s,
            )

    def reset_scene(
        self, task: str, seed: int, timeout_s: float = 20.0, *, hard: bool = False, variant: str = ""
    ) -> None:
        """Lays out the objects of a scene."""
        kind = self._kinds[services.SIM_RESET_SCENE].Request
        request = kind(task=task, seed=seed, hard=hard, variant=variant)
        self._call(services.SIM_RESET_SCENE, request, timeout_s)

    def score(self, text: str, timeout_s: float = 20.0) -> Verdict:
        """Judges from simulator truth whether `text` was obeyed since the last reset."""
        request = self._kinds[services.SIM_SCORE_SCENE].Request(instruction=text)
        answer = self._call(services.SIM_SCORE_SCENE, request, timeout_s)
        return Verdict(
            moved_arm=answer.moved_arm,
            lifted_color=answer.lifted_object,
            arm_complied=answer.arm_complied,
            color_complied=answer.color_complied,
            done=answer.task_done,
            asked=dict(zip(answer.factors, answer.asked, strict=True)),
            observed=dict(zip(answer.factors, answer.observed, strict=True)),
            complied=dict(zip(answer.factors, map(bool, answer.complied), strict=True)),
            points=float(answer.points),
        )

    def wait_for_frames(
        self, count: int = 2, timeout_s: float = 10.0, cameras: Collection[str] | None = None
    ) -> None:
        """Waits until every camera has sent `count` more frames, so that they show the scene of now.

        Args:
            count: Frames of each camera.
            timeout_s: Longest wait, in s.
            cameras: Those that are waited for; all when None.

        Raises:
            GraphError: A camera is silent.
        """
        wanted = self._contract.cameras if cameras is None else cameras
        with self._news:
            goal = {name: self._frames_seen.get(name, 0) + count for name in wanted}
            arrived = self._news.wait_for(
                lambda: all(self._frames_seen.get(name, 0) >= least for name, least in goal.items()),
                timeout_s,
            )
            silent = [name for name, least in goal.items() if self._frames_seen.get(name, 0) < least]
        if not arrived:
            raise GraphError(
                f"no pictures come from {', '.join(silent)}",
                where=", ".join(self._contract.cameras[name].compressed_topic for name in silent),
                expected=f"{count} frames within {timeout_s:g} s",
                remedy="look at the log of the node that publishes them",
            )

    def instruct(self, text: str, timeout_s: float) -> Ending:
        """Publishes one sentence on the instruction topic and waits for its end."""
        name = uuid.uuid4().hex
        message = self._msg.Instruction(text=text, id=name)
        message.header.stamp = self._node.get_clock().now().to_msg()
        begun = self._published = self._monotonic()
        self._say.publish(message)
        states = self._msg.InstructionStatus
        words = {
            states.REJECTED: "rejected",
            states.FINISHED: "finished",
            states.SUPERSEDED: "superseded",
        }
        try:
            with self._news:
                self._news.wait_for(
                    lambda: any(s.state in words for _, s in self._statuses.get(name, ())), timeout_s
                )
                heard = self._statuses.pop(name, [])
        except KeyboardInterrupt:
            self._cancel()  # whoever interrupts us wants the arms to hold
            raise
        applied = next((at - begun for at, s in heard if s.state == states.APPLIED), None)
        for at, status in heard:
            if status.state in words:
                return Ending(words[status.state], status.reason_code, status.reason, at - begun, applied)
        last = heard[-1][1].reason if heard else "no status arrived"
        self._cancel()
        return Ending("timeout", "timeout", last, self._monotonic() - begun, applied)

    def _cancel(self, timeout_s: float = 5.0) -> None:
        """Ends an instruction that nobody waits for any more, if the policy is there to hear it."""
        name = services.POLICY_CANCEL
        if self._ready(name):
            self._ask(name, self._kinds[name].Request(), timeout_s)

    def close(self) -> None:
        """Leaves the graph."""
        # In this order: an executor that is shut down while it spins raises in its thread.
        self._ended.set()
        self._thread.join(2.0)
        self._executor.shutdown(timeout_sec=2.0)
        self._node.destroy_node()
        self._context.try_shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
