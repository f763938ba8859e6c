"""LeRobot datasets on disk, v2.0, v2.1 and v3.0, read and written without lerobot."""
