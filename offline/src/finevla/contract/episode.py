"""What a recorded episode holds: the table of topics, their types, and the episode's own facts.

Pure data, shared by the recorder node, `finevla sim record` and the converter, so that a bag from
the graph and a bag from the fast simulator have the same schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from finevla.contract.robot import ARM_SIDES, RobotContract, load_contract
from finevla.errors import BagError

EPISODE_KEY = "finevla.episode"
"""Key of the episode's facts (JSON) in the custom data of the bag's metadata."""

CONTRACT_KEY = "finevla.contract"
"""Key of the contract (YAML) in the custom data of the bag's metadata."""


class Role(StrEnum):
    """What a recorded topic is for."""

    CAMERA = "camera"
    FEEDBACK = "feedback"
    LEADER = "leader"
    INSTRUCTION = "instruction"
    PARSED = "parsed"
    STATUS = "status"
    MARK = "mark"


@dataclass(frozen=True, slots=True)
class RecordedTopic:
    """One topic of a bag.

    `source` is the camera name or the arm side, empty for text. `depth` and `reliable` say how to
    subscribe; `latched` topics are subscribed with transient local durability. A topic that is
    not `required` may be silent during a recording.
    """

    topic: str
    type: str
    role: Role
    source: str = ""
    depth: int = 10
    reliable: bool = True
    latched: bool = False
    required: bool = False


def recorded_topics(contract: RobotContract, *, raw_images: bool = False) -> tuple[RecordedTopic, ...]:
    """The topics of an episode, in the order in which bags list them.

    Args:
        contract: Names the topics.
        raw_images: Whether images are taken as the cameras publish them, for drivers that compress none.
    """
    kind = "Image" if raw_images else "CompressedImage"
    cameras = [
        RecordedTopic(
            c.raw_topic if raw_images else c.compressed_topic,
            f"sensor_msgs/msg/{kind}",
            Role.CAMERA,
            name,
            depth=30,
            reliable=False,
            required=True,
        )
        for name, c in contract.cameras.items()
    ]
    joints = [
        RecordedTopic(
            topic, "sensor_msgs/msg/JointState", role, side, depth=400, reliable=False, required=True
        )
        for role, pick in ((Role.FEEDBACK, "feedback_topic"), (Role.LEADER, "leader_topic"))
        for side in ARM_SIDES
        for topic in [getattr(contract.arms[side], pick)]
    ]
    names = contract.topics
    texts = [
        RecordedTopic(names.instruction, "finevla_msgs/msg/Instruction", Role.INSTRUCTION),
        RecordedTopic(
            names.instruction_parsed, "finevla_msgs/msg/ParsedInstruction", Role.PARSED, latched=True
        ),
        RecordedTopic(
            names.instruction_status, "finevla_msgs/msg/InstructionStatus", Role.STATUS, latched=True
        ),
        RecordedTopic(names.episode_mark, "finevla_msgs/msg/EpisodeMark", Role.MARK, latched=True),
    ]
    return (*cameras, *joints, *texts)


@dataclass(frozen=True, slots=True)
class EpisodeInfo:
    """The facts of one episode that are not in its messages.

    Args:
        episode_id: Name of the bag directory.
        instruction: What the operator was asked to do, unchanged; may be empty.
        outcome: `success`, `failure` or empty (not judged).
        operator: Who led the arms: a name, `expert` in simulation, or empty.
        source: What wrote the bag: `recorder`, `sim` or empty (unknown, for example ros2 bag).
        note: Free text of the operator.
        contract_hash: Hash of the contract that was in force; empty where unknown.
        dropped: Messages that the recorder lost, by topic.
        frame_origin_ns: Stamp from which frames are counted, in the bag and by every policy that runs
            meanwhile; 0 where nobody fixed one: then it is that of the first complete frame.
    """

    episode_id: str
    instruction: str = ""
    outcome: str = ""
    operator: str = ""
    source: str = ""
    note: str = ""
    contract_hash: str = ""
    dropped: Mapping[str, int] = field(default_factory=dict)
    frame_origin_ns: int = 0

    def labeled(self, outcome: str, note: str | None = None) -> EpisodeInfo:
        """The same facts with a judgment.

        Raises:
            BagError: The outcome is not one of the three.
        """
        if outcome not in OUTCOMES:
            raise BagError(
                "an episode cannot have this outcome",
                where=self.episode_id,
                expected="success, failure or empty (not judged)",
                found=outcome,
                remedy="give one of the three",
            )
        return replace(self, outcome=outcome, note=self.note if note is None else note)

    def to_json(self) -> str:
        """Canonical JSON, as stored in the bag's metadata."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)


OUTCOMES = ("", "success", "failure")


def info_from_json(text: str, where: str) -> EpisodeInfo:
    """Reads the facts of an episode back; keys of newer versions are ignored.

    Raises:
        BagError: The text is not JSON of an episode.
    """
    try:
        data: Mapping[str, Any] = json.loads(text)
        known = {f.name for f in fields(EpisodeInfo)}
        return EpisodeInfo(**{k: v for k, v in data.items() if k in known})
    except (ValueError, TypeError, AttributeError) as err:
        raise BagError(
            "the episode's facts in the bag's metadata cannot be read",
            where=where,
            found=err,
            remedy=f"remove {EPISODE_KEY} from custom_data of metadata.yaml, or restore the file",
        ) from err


def custom_data(info: EpisodeInfo, contract: RobotContract | None = None) -> dict[str, str]:
    """What goes into the custom data of the bag's metadata."""
    robot = load_contract() if contract is None else contract
    stamped = replace(info, contract_hash=robot.hash)
    return {EPISODE_KEY: stamped.to_json(), CONTRACT_KEY: robot.to_yaml()}
