"""LeRobot datasets on disk, v2.0, v2.1 and v3.0, read and written without lerobot."""

import os

# Arrow's own allocator keeps what the longest episode once needed; it is asked for when Arrow is imported.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
