"""FineVLA's policies in LeRobot: `lerobot-train --policy.type=finevla`.

Importing this package registers the configuration and the processor steps; LeRobot finds the policy class by
its conventions (`configuration_*`, `modeling_*`, `processor_*` beside each other) when it needs it.
"""

from lerobot_policy_finevla.configuration_finevla import FineVLAConfig
from lerobot_policy_finevla.processor_finevla import make_finevla_pre_post_processors

__all__ = ["FineVLAConfig", "make_finevla_pre_post_processors"]
