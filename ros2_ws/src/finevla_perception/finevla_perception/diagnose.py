"""What a node says of itself and of its streams on `/diagnostics`."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from finevla_perception.stream_watch import Health


def status(
    name: str, level: bytes, text: str, values: Mapping[str, str], robot: str = ""
) -> DiagnosticStatus:
    """One line of `/diagnostics` with its values, by a name with its unit."""
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=text, hardware_id=robot, values=pairs)


def stream_status(
    node: str, health: Health, look: str = "", more: Mapping[str, object] | None = None
) -> DiagnosticStatus:
    """One stream.

    Args:
        node: Name of the node that speaks.
        health: How the stream fares.
        look: What is wrong with its pictures; empty where nothing is.
        more: Further values, by a name with its unit.
    """
    words = ", ".join(filter(None, (health.problem, look)))
    values = {
        "rate_hz": f"{health.hz:.1f}",
        "age_s": "" if health.age_s is None else f"{health.age_s:.3f}",
        "bytes_per_s": f"{health.bytes_per_s:.0f}",
        "lost": str(health.lost),
        **{name: str(value) for name, value in (more or {}).items()},
    }
    level = DiagnosticStatus.WARN if words else DiagnosticStatus.OK
    return status(f"{node}: {health.topic}", level, words or "as expected", values)
