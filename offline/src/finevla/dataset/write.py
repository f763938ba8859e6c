"""Which formats are written, and by what."""

from __future__ import annotations

from finevla.dataset import v21, v30

WRITERS = {"v3.0": v30.write, "v2.1": v21.write}
