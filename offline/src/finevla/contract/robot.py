"""The robot contract: loads `cobotmagic.yaml` into frozen dataclasses and hashes it.

This is the single definition of joint order, limits, units, cameras, topics and rates. Nodes,
stages, simulator and policy all import it; a test proves that no other file spells a joint list.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from finevla.contract import keys
from finevla.errors import ContractError

ARM_SIDES = ("left", "right")
"""Order of the arms in every state and action vector."""


@dataclass(frozen=True, slots=True)
class JointSpec:
    """One joint of one arm. Units: rad for revolute joints, m of opening for the gripper."""

    name: str
    wire: str
    lower: float
    upper: float
    velocity: float
    home: float
    effort_n_m: float = 0.0


@dataclass(frozen=True, slots=True)
class ArmSpec:
    """One arm: where it stands and which channel and topics carry it.

    `joints` holds seven entries, six revolute joints (rad) and the gripper (m of opening), with
    names that carry the side, such as `left_joint1`.
    """

    side: str
    base_xyz_m: tuple[float, float, float]
    can_channel: str
    feedback_topic: str
    leader_topic: str
    joints: tuple[JointSpec, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The seven contract names of this arm, gripper last."""
        return tuple(joint.name for joint in self.joints)

    @property
    def wire_names(self) -> tuple[str, ...]:
        """The seven names that CobotMagic's own topics use for this arm."""
        return tuple(joint.wire for joint in self.joints)


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """One colour camera. Images are RGB, uint8, shape (height, width, 3)."""

    name: str
    topic: str
    frame_id: str
    width: int
    height: int

    @property
    def raw_topic(self) -> str:
        """Topic of `sensor_msgs/Image`."""
        return f"{self.topic}/image_raw"

    @property
    def compressed_topic(self) -> str:
        """Topic of `sensor_msgs/CompressedImage` (JPEG)."""
        return f"{self.topic}/image_raw/compressed"

    @property
    def info_topic(self) -> str:
        """Topic of `sensor_msgs/CameraInfo`."""
        return f"{self.topic}/camera_info"

    @property
    def key(self) -> str:
        """LeRobot feature key."""
        return keys.IMAGES + self.name


@dataclass(frozen=True, slots=True)
class Rates:
    """Nominal rates in Hz: control step of policy and dataset, cameras, joint feedback."""

    frame: float
    camera: float
    feedback: float


NEAREST, FIRST_AFTER = "nearest", "first_after"
"""What a frame takes of each stream: the image nearest to its stamp and joints interpolated at it, or, as
cobot_magic does, the first message at or after it."""


@dataclass(frozen=True, slots=True)
class SyncSpec:
    """How frames are put together: pivot camera, image slop and largest joint gap (s), choice of messages."""

    pivot: str
    slop_s: float
    joint_gap_s: float
    choice: str = NEAREST


@dataclass(frozen=True, slots=True)
class Topics:
    """FineVLA's own topics."""

    instruction: str
    instruction_parsed: str
    instruction_status: str
    action_chunk: str
    policy_status: str
    driver_state: str
    episode_mark: str


@dataclass(frozen=True)
class RobotContract:
    """Everything that two programs must agree on to speak of the same robot."""

    name: str
    version: int
    arms: Mapping[str, ArmSpec]
    cameras: Mapping[str, CameraSpec]
    rates_hz: Rates
    sync: SyncSpec
    topics: Topics
    horizon: int
    dh_is_offset: int
    document: Mapping[str, Any]

    @cached_property
    def joints(self) -> tuple[JointSpec, ...]:
        """The fourteen joints: left arm, left gripper, right arm, right gripper."""
        return tuple(joint for side in ARM_SIDES for joint in self.arms[side].joints)

    @cached_property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the fourteen joints in the order of every state and action vector."""
        return tuple(joint.name for joint in self.joints)

    @property
    def dof(self) -> int:
        """Length of a state or action vector (14)."""
        return len(self.joints)

    @cached_property
    def lower(self) -> NDArray[np.float64]:
        """Lower position limits, shape (14,), rad and m."""
        return np.array([joint.lower for joint in self.joints])

    @cached_property
    def upper(self) -> NDArray[np.float64]:
        """Upper position limits, shape (14,), rad and m."""
        return np.array([joint.upper for joint in self.joints])

    @cached_property
    def velocity(self) -> NDArray[np.float64]:
        """Largest speeds, shape (14,), rad/s and m/s."""
        return np.array([joint.velocity for joint in self.joints])

    @cached_property
    def home(self) -> NDArray[np.float64]:
        """The pose in which episodes begin, shape (14,), rad and m."""
        return np.array([joint.home for joint in self.joints])

    @cached_property
    def grippers(self) -> Mapping[str, int]:
        """Index of each arm's gripper in the vector, by side."""
        width = self.dof // len(ARM_SIDES)
        return {side: (i + 1) * width - 1 for i, side in enumerate(ARM_SIDES)}

    @cached_property
    def is_gripper(self) -> NDArray[np.bool_]:
        """Which values of a vector are openings of grippers, in m, and not angles, shape (14,)."""
        mask = np.zeros(self.dof, dtype=np.bool_)
        mask[list(self.grippers.values())] = True
        return mask

    def chosen_cameras(self, names: str) -> tuple[str, ...]:
        """Cameras named in a list with commas, in contract order; all where the list is empty.

        Raises:
            ContractError: One of them is not a camera of the robot, or the pivot is not among them.
        """
        asked = [name.strip() for name in names.split(",") if name.strip()] or list(self.cameras)
        if not set(asked) <= set(self.cameras) or self.sync.pivot not in asked:
            raise ContractError(
                "these cameras cannot make frames",
                where="--cameras",
                expected=f"some of {', '.join(self.cameras)}, and {self.sync.pivot} among them",
                found=names,
                remedy="name cameras of the contract and keep the one that defines the frames",
            )
        return tuple(name for name in self.cameras if name in asked)

    def arm_slice(self, side: str) -> slice:
        """Slice of one arm's seven values, gripper included, in the vector."""
        width = self.dof // len(ARM_SIDES)
        start = ARM_SIDES.index(side) * width
        return slice(start, start + width)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical document: equal hashes mean the same robot."""
        return document_hash(self.document)

    @property
    def frame_period_s(self) -> float:
        """Seconds between two frames of dataset and policy."""
        return 1.0 / self.rates_hz.frame

    def to_yaml(self) -> str:
        """The document as text, to be stored beside data."""
        return yaml.safe_dump(dict(self.document), sort_keys=False)


def document_hash(document: Mapping[str, Any]) -> str:
    """SHA-256 hex digest of a document in canonical JSON, so that comments do not count."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _joint(entry: Mapping[str, Any], side: str, where: str) -> JointSpec:
    try:
        fields = {**entry, "name": f"{side}_{entry['name']}"}
        spec = JointSpec(**fields)
    except (KeyError, TypeError) as err:
        raise ContractError(
            "a joint of the contract is not complete",
            where=where,
            expected="name, wire, lower, upper, velocity, home",
            found=dict(entry),
            remedy="compare with finevla/contract/cobotmagic.yaml",
        ) from err
    if not spec.lower <= spec.home <= spec.upper or spec.velocity <= 0:
        raise ContractError(
            f"joint {spec.name} has impossible limits",
            where=where,
            expected="lower <= home <= upper and velocity > 0",
            found=dict(entry),
            remedy="correct the numbers; units are rad, m and s",
        )
    return spec


def contract_from_document(document: Mapping[str, Any], where: str = "contract") -> RobotContract:
    """Builds a validated contract from a parsed YAML document.

    Raises:
        ContractError: A part is missing or contradicts another.
    """
    try:
        entries = [*document["joints"], document["gripper"]]
        arms = {
            side: ArmSpec(
                side=side,
                base_xyz_m=tuple(document["arms"][side]["base_xyz_m"]),
                can_channel=document["arms"][side]["can_channel"],
                feedback_topic=document["arms"][side]["feedback_topic"],
                leader_topic=document["arms"][side]["leader_topic"],
                joints=tuple(_joint(entry, side, where) for entry in entries),
            )
            for side in ARM_SIDES
        }
        contract = RobotContract(
            name=document["name"],
            version=document["version"],
            arms=arms,
            cameras={n: CameraSpec(name=n, **c) for n, c in document["cameras"].items()},
            rates_hz=Rates(**document["rates_hz"]),
            sync=SyncSpec(**document["sync"]),
            topics=Topics(**document["topics"]),
            horizon=document["chunk"]["horizon"],
            dh_is_offset=document["dh_is_offset"],
            document=document,
        )
    except (KeyError, TypeError) as err:
        raise ContractError(
            "the robot contract lacks a part or has one too many",
            where=where,
            found=err,
            remedy="compare with finevla/contract/cobotmagic.yaml",
        ) from err
    _check(contract, where)
    return contract


def _check(contract: RobotContract, where: str) -> None:
    if len(set(contract.joint_names)) != contract.dof:
        raise ContractError(
            "two joints of the contract have the same name",
            where=where,
            found=contract.joint_names,
            remedy="give each joint its own name",
        )
    if contract.sync.choice not in (NEAREST, FIRST_AFTER):
        raise ContractError(
            "nobody knows this way to put frames together",
            where=f"{where}: sync.choice",
            expected=f"{NEAREST} or {FIRST_AFTER}",
            found=contract.sync.choice,
            remedy="name one of the two, or leave the line out",
        )
    if contract.sync.pivot not in contract.cameras:
        raise ContractError(
            "the pivot camera is not among the cameras",
            where=where,
            expected=f"one of {sorted(contract.cameras)}",
            found=contract.sync.pivot,
            remedy="set sync.pivot to a camera of the contract",
        )


def load_contract(path: Path | str | None = None) -> RobotContract:
    """Loads the contract from `path`; the one that ships with the library where it is None or empty.

    Raises:
        ContractError: The file is missing, is not YAML, or is not a contract.
    """
    if not path:
        return _shipped_contract()
    try:
        document = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as err:
        raise ContractError(
            "the robot contract cannot be read",
            where=path,
            found=err,
            remedy="give the path of a contract in YAML",
        ) from err
    if not isinstance(document, Mapping):
        raise ContractError(
            "the robot contract is not a mapping",
            where=path,
            found=type(document).__name__,
            remedy="give the path of a contract in YAML",
        )
    return contract_from_document(document, str(path))


@lru_cache(maxsize=1)
def _shipped_contract() -> RobotContract:
    text = resources.files("finevla.contract").joinpath("cobotmagic.yaml").read_text()
    return contract_from_document(yaml.safe_load(text), "finevla/contract/cobotmagic.yaml")


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Lists where two contract documents differ, as `path: ours != theirs` lines."""
    lines: list[str] = []
    for key in sorted({*ours, *theirs}, key=str):
        path = f"{prefix}{key}"
        mine, other = ours.get(key, "(absent)"), theirs.get(key, "(absent)")
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            lines += difference(mine, other, f"{path}.")
        elif mine != other:
            lines.append(f"{path}: {mine!r} != {other!r}")
    return lines
