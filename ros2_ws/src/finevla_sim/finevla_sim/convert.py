"""Core types of the simulation to messages; the only module here that knows message fields."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from finevla_msgs.msg import ObjectState, SceneTruth
from finevla_msgs.srv import ScoreScene
from finevla_perception.convert import ns_to_stamp
from geometry_msgs.msg import Point, Quaternion
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo

from finevla.contract.robot import CameraSpec
from finevla.sim.scene import Kind, SceneSpec
from finevla.sim.tasks import sample_scene
from finevla_sim.leader import Seen
from finevla_sim.scene_watch import Judgement, ObjectReport, TruthReport

WORLD_FRAME = "world"


def scene_truth(report: TruthReport) -> SceneTruth:
    """The truth topic's message."""
    message = SceneTruth()
    message.header.stamp = ns_to_stamp(report.stamp_ns)
    message.header.frame_id = WORLD_FRAME
    spec = report.spec
    message.task, message.seed = spec.task, spec.seed
    message.hard, message.variant = spec.hard, spec.variant
    message.travel = list(report.travel)
    message.objects = [_object_state(entry) for entry in report.objects]
    return message


def _object_state(entry: ObjectReport) -> ObjectState:
    x, y, z, *turn = (float(value) for value in entry.pose)
    qw, qx, qy, qz = turn
    return ObjectState(
        name=entry.name,
        color=entry.color,
        position=Point(x=x, y=y, z=z),
        orientation=Quaternion(w=qw, x=qx, y=qy, z=qz),
        pressed=entry.pressed_m,
        lift=entry.lift_m,
        held_by=entry.held_by,
    )


def seen_of(message: SceneTruth) -> Seen:
    """What the scripted leader needs of a truth message.

    Raises:
        SimulationError: The message names a task that there is not.
    """
    spec = _scene(message.task, message.seed, message.hard, message.variant)
    buttons = {item.name for item in spec.of(Kind.BUTTON)}
    return Seen(
        spec,
        {entry.name: _pose(entry) for entry in message.objects},
        {entry.name: float(entry.pressed) for entry in message.objects if entry.name in buttons},
    )


@lru_cache(maxsize=4)
def _scene(task: str, seed: int, hard: bool, variant: str) -> SceneSpec:
    return sample_scene(task, seed, hard=hard, variant=variant)


def _pose(entry: ObjectState) -> NDArray[np.float64]:
    place, turn = entry.position, entry.orientation
    return np.array([place.x, place.y, place.z, turn.w, turn.x, turn.y, turn.z])


def fill_score(response: ScoreScene.Response, judgement: Judgement) -> ScoreScene.Response:
    """Writes a judgement into a service response."""
    score = judgement.score
    response.success = True
    response.asked_arm, response.asked_color = (
        judgement.asked.get("arm", ""),
        judgement.asked.get("color", ""),
    )
    response.moved_arm = score.moved_arm or ""
    response.lifted_object = score.lifted_color or ""
    response.arm_complied, response.color_complied = score.arm_complied, score.color_complied
    response.task_done = score.done
    response.points = score.points
    response.factors = list(judgement.asked)
    response.asked = [_text(value) for value in judgement.asked.values()]
    response.observed = [_text(score.observed.get(name)) for name in judgement.asked]
    response.complied = [score.complied[name] for name in judgement.asked]
    return response


def _text(value: object) -> str:
    """A value of a factor as text; empty where the behaviour showed none."""
    if value is None:
        return ""
    return " ".join(value) if isinstance(value, tuple) else str(value)


def camera_info(camera: CameraSpec, fovy_rad: float) -> CameraInfo:
    """A pinhole camera without distortion; set the stamp before publishing."""
    focal = camera.height / 2 / math.tan(fovy_rad / 2)
    cx, cy = camera.width / 2, camera.height / 2
    message = CameraInfo(width=camera.width, height=camera.height, distortion_model="plumb_bob")
    message.header.frame_id = camera.frame_id
    message.d = [0.0] * 5
    message.k = [focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message
