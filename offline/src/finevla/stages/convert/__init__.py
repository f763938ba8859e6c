"""Bags to a LeRobot dataset, v3.0 or v2.1, with the same frames in both."""
