"""Whether an arm leads or follows, and under which ids it speaks and listens: the setting 0x470.

piper_sdk, can_id.py: a teaching arm's feedback moves to ids of its own, it obeys no control frame and sends
joint commands itself. With offset 0 nothing of its feedback is seen (piper_sdk, issue 41: after
`MasterSlaveConfig(0xFA, 0, 0, 0)` no joint and no pose frame comes).
"""

from __future__ import annotations

from dataclasses import dataclass

from finevla_sim.piper_frames import Frame, Id

LEAD, FOLLOW = 0xFA, 0xFC
MOTIONS = range(Id.COMMAND_STOP, Id.COMMAND_STOP + 0x10)
"""Ids of control frames before an offset."""


@dataclass
class PiperRole:
    """Role of one arm.

    Attributes:
        leads: It is a leader.
        follows_next: It is to follow after its next power-up.
        feedback: Added to the ids of feedback, 0x2A0 to 0x2AF.
        control: Added to the ids of the control frames that it obeys, 0x150 to 0x15F.
        linkage: Added to the ids of the control frames that it sends as a leader.
    """

    leads: bool = False
    follows_next: bool = False
    feedback: int = 0
    control: int = 0
    linkage: int = 0

    def configure(self, data: bytes, *, after_restart: bool) -> bool:
        """Takes the setting 0x470; `after_restart`: a leader follows only after its next power-up.

        Returns:
            True if the arm goes to standby.
        """
        role = data[0]
        if role == LEAD:
            self.leads, self.follows_next = True, False
        elif role == FOLLOW:
            self.follows_next = self.leads
            self.leads = self.leads and after_restart
        self.feedback, self.control, self.linkage = data[1], data[2], data[3]
        return role == FOLLOW

    def restart(self) -> None:
        """A new power-up: now it follows, if it was told to."""
        self.leads = self.leads and not self.follows_next

    def heard(self, can_id: int) -> int | None:
        """The id without its offset; None for a control frame of another arm."""
        base = can_id - self.control
        if base in MOTIONS:
            return base
        return None if can_id in MOTIONS else can_id

    def addressed(self, out: list[Frame], *, leads: bool) -> list[Frame]:
        """Feedback 0x2A0 to 0x2AF as the bus sees it."""
        if leads and not self.feedback:
            return []
        return [(can_id + self.feedback, data) for can_id, data in out] if self.feedback else out
