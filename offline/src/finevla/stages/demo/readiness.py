"""What a graph still lacks before an instruction can run, by node. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from finevla.contract import services

CAMERAS = "cameras"
"""Stands for the camera drivers of a real robot, which are not ours."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client has seen of the graph so far.

    `simulated` says whether a simulator is wanted; with a real robot there is none.
    """

    scene: bool
    silent_cameras: tuple[str, ...]
    driver: bool
    driver_ready: bool
    driver_reason: str
    policy: bool
    policy_ready: bool
    policy_reason: str
    instruction: bool
    simulated: bool = True


def lacking(seen: Seen) -> dict[str, str]:
    """Name of the node -> what is awaited of it; empty when everything is there.

    Nodes that others wait for come first, so that the first entry is where to look.
    """
    found: dict[str, str] = {}
    pictures = f"pictures of {', '.join(seen.silent_cameras)}" if seen.silent_cameras else ""
    if seen.simulated and not seen.scene:
        found[services.SIM_NODE] = "its services"
    elif pictures:
        found[services.SIM_NODE if seen.simulated else CAMERAS] = pictures
    if not seen.driver:
        found[services.DRIVER_NODE] = "its state and services"
    elif not seen.driver_ready:
        found[services.DRIVER_NODE] = f"both arms ({seen.driver_reason or 'not connected'})"
    if not seen.policy:
        found[services.POLICY_NODE] = "its status"
    elif not seen.policy_ready:
        found[services.POLICY_NODE] = f"an active bundle ({seen.policy_reason or 'inactive'})"
    if not seen.instruction:
        found[services.INSTRUCTION_NODE] = "to listen to instructions"
    return found
