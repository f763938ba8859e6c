"""Core types of the simulation to messages; the only module here that knows message fields."""

from __future__ import annotations

import math

import numpy as np
from finevla_msgs.msg import ObjectState, SceneTruth
from finevla_msgs.srv import ScoreScene
from finevla_perception.convert import ns_to_stamp
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo

from finevla.contract.robot import CameraSpec
from finevla_sim.leader import Seen
from finevla_sim.scene_watch import BOWL, Judgement, ObjectReport, TruthReport

WORLD_FRAME = "world"


def scene_truth(report: TruthReport) -> SceneTruth:
    """The truth topic's message."""
    message = SceneTruth()
    message.header.stamp = ns_to_stamp(report.stamp_ns)
    message.header.frame_id = WORLD_FRAME
    message.task, message.seed = report.task, report.seed
    message.travel = list(report.travel)
    message.objects = [_object_state(entry) for entry in report.objects]
    return message


def _object_state(entry: ObjectReport) -> ObjectState:
    x, y, z = entry.position
    position = Point(x=x, y=y, z=z)
    return ObjectState(
        name=entry.name, color=entry.color, position=position, lift=entry.lift_m, held_by=entry.held_by
    )


def seen_of(message: SceneTruth) -> Seen:
    """What the scripted leader needs of a truth message."""
    places = {entry.name: (entry.color, _array(entry.position)) for entry in message.objects}
    cubes = {color: place for color, place in places.values() if color}
    return Seen(cubes, places[BOWL][1])


def _array(point: Point) -> NDArray[np.float64]:
    return np.array([point.x, point.y, point.z])


def fill_score(response: ScoreScene.Response, judgement: Judgement) -> ScoreScene.Response:
    """Writes a judgement into a service response."""
    score = judgement.score
    response.success = True
    response.asked_arm, response.asked_color = judgement.asked_arm, judgement.asked_color
    response.moved_arm = score.moved_arm or ""
    response.lifted_object = score.lifted_color or ""
    response.arm_complied, response.color_complied = score.arm_complied, score.color_complied
    response.task_done = score.done
    return response


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
