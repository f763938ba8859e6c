"""`finevla import`: datasets that others recorded."""
