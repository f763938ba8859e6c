"""Node `finevla_sim`: the simulated CobotMagic, its CAN buses, cameras, truth and scene services."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from finevla_msgs.msg import SceneTruth
from finevla_msgs.srv import ResetScene, ScoreScene
from finevla_perception.convert import ns_to_stamp
from finevla_perception.diagnose import status
from finevla_perception.run import REFUSED, run_node
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from finevla.contract import load_contract, services
from finevla.contract.kinematics import dh_table, forward
from finevla.contract.params import read
from finevla.errors import FineVLAError, LaunchError
from finevla.sim.room import camera_fovy
from finevla.sim.tasks import sample_scene, task_named
from finevla.sim.world import World
from finevla_sim import convert
from finevla_sim.arm_bus import ArmBus
from finevla_sim.camera_publisher import CameraPublisher
from finevla_sim.params import DISABLED_CAMERAS, TRUTH_TOPIC, SimParams
from finevla_sim.piper_device import FrameSet
from finevla_sim.pose import xyz_rpy
from finevla_sim.scene_watch import TruthReport
from finevla_sim.sim_loop import LoopSettings, SimLoop, answer

ANSWER_TIMEOUT_S = 10.0
SLOW = 0.9
"""Below this real-time factor the node warns."""


class SimNode(Node):
    """Owns the world and the thread that runs it.

    Args:
        world: A world to use instead of making one; it must not be used elsewhere meanwhile.
        node_args: Further arguments of `Node`, such as `context`.
    """

    def __init__(self, world: World | None = None, **node_args: Any) -> None:
        super().__init__(services.SIM_NODE, **node_args)
        self.params = read(self, SimParams, ParameterDescriptor)
        self.contract = load_contract(self.params.contract_file)
        self.failure: Exception | None = None
        self._world = world or World(render=self.params.render, contract=self.contract)
        spec = sample_scene(self.params.task, self.params.seed)
        self._world.reset(spec)
        if self.params.render:
            self.get_logger().info("preparing the renderer; this takes some seconds")
            self._world.images()
        self._cameras = CameraPublisher(self, self.contract, camera_fovy(self.contract))
        self._declare_disabled_cameras()
        self._truth_publisher = self.create_publisher(SceneTruth, TRUTH_TOPIC, 10)
        self._diagnostics = self.create_publisher(DiagnosticArray, services.DIAGNOSTICS, 10)
        table = dh_table(self.contract.dh_is_offset)
        self._bus = ArmBus(
            self.contract,
            self._world.state(),
            time.time_ns,
            self.params.can_port,
            FrameSet(self.params.frame_set),
            lambda q: xyz_rpy(forward(table, q)),
        )
        settings = LoopSettings(
            self.params.camera_rate_hz if self.params.render else 0.0, self.params.truth_rate_hz
        )
        self.loop = SimLoop(
            self._world,
            spec,
            self._bus,
            self.contract,
            time.time_ns,
            settings,
            self._cameras.put,
            self._publish_truth,
            self._cameras.wanted,
        )
        self._thread = threading.Thread(target=self._run, name="sim-loop", daemon=True)

    def start(self) -> None:
        """Starts the world, offers the services and tells the port of the arms."""
        self._thread.start()
        self.create_service(ResetScene, services.SIM_RESET_SCENE, self._on_reset)
        self.create_service(ScoreScene, services.SIM_SCORE_SCENE, self._on_score)
        self.create_timer(1.0, self._on_health)
        if self.params.can_port_file:
            path = Path(self.params.can_port_file)
            fresh = path.with_suffix(f"{path.suffix}.new")
            fresh.write_text(f"{self._bus.port}\n")
            fresh.replace(path)
        self.get_logger().info(f"the simulated arms answer on 127.0.0.1:{self._bus.port} (socketcand)")

    def close(self) -> None:
        """Ends all threads and closes the port."""
        self.loop.stop()
        if self._thread.is_alive():
            self._thread.join()
        self._cameras.close()
        self._bus.close()
        if self.params.can_port_file:
            Path(self.params.can_port_file).unlink(missing_ok=True)
        self.destroy_node()

    def _run(self) -> None:
        try:
            self.loop.run()
        except Exception as err:  # noqa: BLE001 - ends the process with this reason
            if not self.context.ok():
                return  # the ordinary end: the context goes first, publishers fail after that
            self.failure = err
            self.get_logger().fatal(f"the simulation ended: {err}")
            rclpy.try_shutdown()

    def _publish_truth(self, report: TruthReport) -> None:
        if self._truth_publisher.get_subscription_count():
            self._truth_publisher.publish(convert.scene_truth(report))

    # Cameras that are switched off ---------------------------------------------------------------

    def _declare_disabled_cameras(self) -> None:
        meta = ParameterDescriptor(description="Cameras that send nothing, for tests; '' names none.")
        names = self.declare_parameter(DISABLED_CAMERAS, [""], meta).value
        reason = self._set_disabled_cameras(names)
        if reason:
            raise LaunchError(reason, where=DISABLED_CAMERAS, remedy="name cameras of the contract")
        self.add_on_set_parameters_callback(self._on_set_parameters)

    def _on_set_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == DISABLED_CAMERAS:
                reason = self._set_disabled_cameras(parameter.value)
                if reason:
                    return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _set_disabled_cameras(self, names: list[str]) -> str:
        wanted = frozenset(filter(None, names))
        unknown = sorted(wanted - set(self.contract.cameras))
        if unknown:
            return f"there is no camera {unknown}; there are {list(self.contract.cameras)}"
        self._cameras.disabled = wanted
        return ""

    # Services -----------------------------------------------------------------------------------

    def _on_reset(self, request: ResetScene.Request, response: ResetScene.Response) -> ResetScene.Response:
        try:
            task = task_named(request.task or self.loop.task)
            spec = sample_scene(task.name, request.seed, hard=request.hard, variant=request.variant)
            report = answer(self.loop.reset(spec), ANSWER_TIMEOUT_S)
        except FineVLAError as err:
            response.message = str(err)
            return response
        response.success, response.truth = True, convert.scene_truth(report)
        return response

    def _on_score(self, request: ScoreScene.Request, response: ScoreScene.Response) -> ScoreScene.Response:
        try:
            judgement = answer(self.loop.judge(request.instruction), ANSWER_TIMEOUT_S)
        except FineVLAError as err:
            response.message = str(err)
            return response
        return convert.fill_score(response, judgement)

    def _on_health(self) -> None:
        health = self.loop.health
        slow = health.real_time_factor < SLOW
        text = f"real-time factor {health.real_time_factor:.2f}"
        if slow:
            self.get_logger().warning(
                f"{text}: this machine is too slow or too busy", throttle_duration_sec=10.0
            )
        figures = {
            "real_time_factor": health.real_time_factor,
            "given_up_s": health.given_up_s,
            "render_s": health.render_s,
            "dropped_images": float(self._cameras.dropped),
        }
        values = {key: f"{value:.4f}" for key, value in figures.items()}
        level = DiagnosticStatus.WARN if slow else DiagnosticStatus.OK
        line = status("finevla_sim: real time", level, text, values, self.contract.name)
        message = DiagnosticArray(status=[line])
        message.header.stamp = ns_to_stamp(time.time_ns())
        self._diagnostics.publish(message)


def _started() -> SimNode:
    node = SimNode()
    node.start()
    return node


def main(args: list[str] | None = None) -> int:
    """Runs the node until it is interrupted; 2 where the simulation itself failed."""
    return run_node(
        services.SIM_NODE,
        _started,
        args,
        close=SimNode.close,
        code=lambda node: 0 if node.failure is None else REFUSED,
    )


if __name__ == "__main__":
    raise SystemExit(main())
